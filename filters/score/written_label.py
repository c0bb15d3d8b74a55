"""The label that a model wrote, if its answer holds one and nothing that could be another."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBER = re.compile(r"(?<![\w.,])[-+]?\d+(?:[.,]\d+)*%?(?!\w)")
#: "4/5", "4 out of 5": a number and the end of its scale.
_OF_SCALE = re.compile(r"(?<![\w.,])([-+]?\d+(?:[.,]\d+)*)\s*(?:/|out of|of)\s*(\d+)(?![\w%])")
_WHOLE = re.compile(r"\+?0*(\d+)(?:[.,]0+)?")
#: What may follow a number that is a grade; before another word it counts something ("1 error").
_AFTER_GRADE = re.compile(r"\s+(?!(?:stars?|points?|or|and|to|because|as|since|for|is|with)\b)[a-z]")
#: "A" before another word is the article, unless "Response A" is what is said.
_ARTICLE = re.compile(r"\s+(?!(?:is|was|wins|has|because|or|and|over|than)\b)[a-z]")
_NAMED = re.compile(r"(?:response|answer|option|assistant)[\s*\"'(]+$", re.IGNORECASE)


def written_label(text: str, labels: Sequence[str], *, cut: bool = False) -> str | None:
    """The only one of ``labels`` in the text; None if there is none, or if it could be another one.

    Numbers are read as wholes: 3.7, -3 and 3/10 are not the label 3, and 3/5 is if 5 is the highest label.
    ``cut``: whether the text was cut at its end, where a label may be a part of a number or a sentence.
    """
    found = _grades(text, labels) if all(map(str.isdecimal, labels)) else _names(text, labels)
    if found is None or len({label for label, _ in found}) != 1:
        return None
    label, end = found[-1]
    return None if cut and len(found) == 1 and not text[end:].strip() else label


def _grades(text: str, labels: Sequence[str]) -> list[tuple[str, int]] | None:
    """The grades in the text, each with its end; None if one is on no level of the scale."""
    ends: dict[int, int] = {}
    scales: set[int] = set()
    for match in _OF_SCALE.finditer(text):
        if match[2] != max(labels, key=int):
            return None
        ends[match.start()] = match.end()
        scales.add(match.start(2))
    found = []
    for match in _NUMBER.finditer(text):
        end = ends.get(match.start(), match.end())
        if match.start() in scales or _AFTER_GRADE.match(text, end):
            continue
        whole = _WHOLE.fullmatch(match[0])
        if whole is None or whole[1] not in labels:
            return None
        found.append((whole[1], end))
    return found


def _names(text: str, labels: Sequence[str]) -> list[tuple[str, int]]:
    """The labels that are words of the text, each with its end."""
    found = []
    for match in re.finditer(r"\w+", text):
        article = (
            match[0] == "A" and _ARTICLE.match(text, match.end()) and not _NAMED.search(text[: match.start()])
        )
        if match[0] in labels and not article:
            found.append((match[0], match.end()))
    return found
