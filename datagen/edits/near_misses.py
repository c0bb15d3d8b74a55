"""How alike two programs are by their tokens, and where they differ, in characters of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

#: Words, numbers, line ends with the indentation after them, and any other sign.
_TOKEN = re.compile(r"[^\W\d]\w*|\d[\w.]*|\n[ \t]*(?=\S)|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Tokens:
    """``texts``: the tokens, without the spaces between them. ``spans``: the first character of each, and the one after it."""

    texts: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]


def tokens(program: str) -> Tokens:
    """The tokens of a program, or of any text: nothing has to parse."""
    found = list(_TOKEN.finditer(program))
    return Tokens(tuple(each.group() for each in found), tuple(each.span() for each in found))


def closest(program: Tokens, others: Sequence[Tokens]) -> tuple[int, float] | None:
    """Which of ``others`` is most like ``program``, and how much (0 .. 1: Ratcliff and Obershelp's ratio); the first
    of several. None where there are none."""
    matcher: SequenceMatcher[str] = SequenceMatcher(None, autojunk=False)
    matcher.set_seq2(program.texts)
    best: tuple[int, float] | None = None
    for place, other in enumerate(others):
        matcher.set_seq1(other.texts)
        bound = -1.0 if best is None else best[1]
        # Two upper bounds that cost less than the ratio.
        if matcher.real_quick_ratio() > bound and matcher.quick_ratio() > bound:
            found = matcher.ratio()
            if found > bound:
                best = (place, found)
    return best


def differing(first: Tokens, second: Tokens) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The spans of characters of each where its tokens differ from the other's; a span is [start, end)."""
    matcher = SequenceMatcher(None, first.texts, second.texts, autojunk=False)
    found: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag == "equal":
            continue
        for place, (side, start, end) in enumerate(((first, i, j), (second, k, m))):
            if end > start:
                found[place].append((side.spans[start][0], side.spans[end - 1][1]))
    return found
