"""Token similarity of programs, and the character ranges where they differ."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

#: Words, numbers, line ends with the indentation after them, and single other characters.
_TOKEN = re.compile(r"[^\W\d]\w*|\d[\w.]*|\n[ \t]*(?=\S)|[^\w\s]")


@dataclass(frozen=True, slots=True)
class ProgramTokens:
    """The tokens of a text.

    ``texts``: the tokens, without spaces. ``spans``: [start, end) of each in characters.
    """

    texts: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]


def tokens(program: str) -> ProgramTokens:
    """Split a program, or any text, into tokens. It does not have to parse."""
    found = list(_TOKEN.finditer(program))
    return ProgramTokens(tuple(each.group() for each in found), tuple(each.span() for each in found))


def closest(program: ProgramTokens, others: Sequence[ProgramTokens]) -> tuple[int, float] | None:
    """Return which of ``others`` is most similar to ``program``, and the similarity; None if there are none.

    The similarity is the ratio of Ratcliff and Obershelp, 0 to 1. Ties go to the first.
    """
    matcher: SequenceMatcher[str] = SequenceMatcher(None, autojunk=False)
    matcher.set_seq2(program.texts)
    best: tuple[int, float] | None = None
    for place, other in enumerate(others):
        matcher.set_seq1(other.texts)
        bound = -1.0 if best is None else best[1]
        # Two upper bounds that are cheaper than the ratio.
        if matcher.real_quick_ratio() > bound and matcher.quick_ratio() > bound:
            found = matcher.ratio()
            if found > bound:
                best = (place, found)
    return best


def differing(
    first: ProgramTokens, second: ProgramTokens
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the character spans [start, end) of each in which its tokens differ from the other's."""
    matcher = SequenceMatcher(None, first.texts, second.texts, autojunk=False)
    found: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag == "equal":
            continue
        for place, (side, start, end) in enumerate(((first, i, j), (second, k, m))):
            if end > start:
                found[place].append((side.spans[start][0], side.spans[end - 1][1]))
    return found
