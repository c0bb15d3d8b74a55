"""Unified diffs of texts, and their strict application."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import TypeAlias

CONTEXT = 3
NO_NEWLINE = "\\ No newline at end of file\n"
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@.*\n")
#: Lines as in diff and patch: only a line feed ends a line.
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
#: An opcode of SequenceMatcher: the operation and its ranges in the old and the new lines.
_Change: TypeAlias = tuple[str, int, int, int, int]


def unified(before: str, after: str, context: int = CONTEXT) -> str:
    """Return a unified diff from ``before`` to ``after`` (GNU diff's format); empty if they are equal.

    Common lines at the start and the end are never part of a change, so a single change gives one hunk of its
    own lines.
    """
    old, new = lines_of(before), lines_of(after)
    return _written(_changes(old, new), old, new, context)


def inserting(before: str, after: str, context: int = CONTEXT) -> str:
    """Return a unified diff that only inserts lines.

    Raises ValueError if ``after`` does not contain all lines of ``before`` in their order.
    """
    old, new = lines_of(before), lines_of(after)
    changes: list[_Change] = []
    at, start = 0, 0
    for place, line in enumerate([*new, None]):
        if line is None or (at < len(old) and line == old[at]):
            if place > start:
                changes.append(("insert", at, at, start, place))
            at, start = at + 1, place + 1
    if at != len(old) + 1:
        raise ValueError("lines are missing, so this is not an insertion")
    return _written(changes, old, new, context)


def lines_of(text: str) -> list[str]:
    """Split a text into lines with their line feeds, the only line ends; joined, they are the text."""
    return _LINE.findall(text)


def _changes(old: list[str], new: list[str]) -> list[_Change]:
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    middle = SequenceMatcher(None, old[start : len(old) - end], new[start : len(new) - end], autojunk=False)
    return [
        (tag, start + i, start + j, start + k, start + m)
        for tag, i, j, k, m in middle.get_opcodes()
        if tag != "equal"
    ]


def _written(changes: Iterable[_Change], old: list[str], new: list[str], context: int) -> str:
    groups: list[list[_Change]] = []
    for change in changes:
        if not groups or change[1] - groups[-1][-1][2] > 2 * context:
            groups.append([])
        groups[-1].append(change)
    hunks = [_hunk(group, old, new, context) for group in groups]
    return "".join(["--- before\n", "+++ after\n", *hunks]) if hunks else ""


def _hunk(changes: list[_Change], old: list[str], new: list[str], context: int) -> str:
    first, last = changes[0], changes[-1]
    above = min(context, first[1])
    below = min(context, len(old) - last[2])
    lines, at = [], first[1] - above
    for _, i, j, k, m in changes:
        lines += [" " + line for line in old[at:i]]
        lines += ["-" + line for line in old[i:j]]
        lines += ["+" + line for line in new[k:m]]
        at = j
    lines += [" " + line for line in old[at : at + below]]
    sizes = (last[2] + below - first[1] + above, last[4] + below - first[3] + above)
    starts = (first[1] - above, first[3] - above)
    spans = [_span(begin, size) for begin, size in zip(starts, sizes, strict=True)]
    text = "".join(line if line.endswith("\n") else f"{line}\n{NO_NEWLINE}" for line in lines)
    return f"@@ -{spans[0]} +{spans[1]} @@\n{text}"


def _span(start: int, size: int) -> str:
    begin = start + 1 if size else start
    return str(begin) if size == 1 else f"{begin},{size}"


def applied(diff: str, before: str) -> str:
    """Apply a diff to ``before``; each line must be where the diff says.

    Raises ValueError if a line of the diff is malformed, or is not in ``before`` at its position.
    """
    old = _LINE.findall(before)
    lines = _LINE.findall(diff.replace("\n" + NO_NEWLINE, "\0\n"))
    if lines[:2] != ["--- before\n", "+++ after\n"]:
        if not diff:
            return before
        raise ValueError("the diff does not begin with its two file lines")
    made: list[str] = []
    at, left = 0, (0, 0)
    for line in lines[2:]:
        hunk = _HUNK.fullmatch(line)
        if hunk and left == (0, 0):
            begin, count, _, more = (1 if part is None else int(part) for part in hunk.groups())
            place = begin - 1 if count else begin
            made += old[at:place]
            at, left = place, (count, more)
            continue
        mark, text = line[:1], line[1:].replace("\0\n", "")
        if mark not in (" ", "-", "+") or left == (0, 0):
            raise ValueError(f"not a line of a diff: {line!r}")
        if mark != "+":
            if at >= len(old) or old[at] != text:
                raise ValueError(f"line {at + 1} is not {text!r}")
            at += 1
        if mark != "-":
            made.append(text)
        left = (left[0] - (mark != "+"), left[1] - (mark != "-"))
    if left != (0, 0):
        raise ValueError("a hunk ends too early")
    return "".join([*made, *old[at:]])
