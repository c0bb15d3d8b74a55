"""All kinds of constraint by name, and which of them conflict.

``KINDS`` are ours: prompts are made with them. ``IFEVAL`` are IFEval's own checks: they are only checked, so
that a student is measured by IFEval and not trained for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ...contracts.errors import DataError
from ...contracts.validation import told
from .case import CapitalWords, FewCapitals, LowerCase, UpperCase
from .check import Check
from .constraint import Constraint
from .ends import EndsWith, EndsWithQuestion, FirstWord, Postscript, Quoted, RepeatRequest, StartsWith
from .ifeval import IFEVAL
from .layout import Bullets, ChooseFrom, CommaList, JsonObject, NumberedList, Sections, TwoResponses
from .length import (
    CharactersAtMost,
    DividedParagraphs,
    OneSentence,
    ParagraphCount,
    SentenceCount,
    WordRange,
    WordsAtLeast,
    WordsAtMost,
)
from .marks import Highlights, Parentheses, Placeholders, Title
from .words import (
    ForbiddenLetter,
    ForbiddenWords,
    KeywordCount,
    Keywords,
    LetterCount,
    NoCommas,
    NoExclamation,
    ParagraphOpening,
)

KINDS: dict[str, type[Constraint]] = {
    kind.kind: kind
    for kind in (
        WordsAtMost, WordsAtLeast, WordRange, CharactersAtMost,
        SentenceCount, OneSentence, ParagraphCount, DividedParagraphs,
        LowerCase, UpperCase, CapitalWords, FewCapitals,
        Keywords, KeywordCount, ForbiddenWords, ForbiddenLetter, LetterCount, NoCommas, NoExclamation,
        ParagraphOpening, StartsWith, FirstWord, EndsWith, EndsWithQuestion, Postscript, Quoted,
        RepeatRequest, Bullets, NumberedList, Sections, CommaList, JsonObject, TwoResponses, ChooseFrom,
        Title, Placeholders, Highlights, Parentheses,
    )
}  # fmt: skip


def conflict(one: str, other: str) -> bool:
    """Whether the two kinds conflict: both determine the same aspect of the response."""
    return bool(KINDS[one].claims & KINDS[other].claims)


def constraint_from(arguments: Mapping[str, Any]) -> Check:
    """Parse ``{"kind": name, **parameters}``. Raises DataError that names what is wrong."""
    parameters = dict(arguments)
    kind = parameters.pop("kind", None)
    known: Mapping[str, type[Check]] = {**KINDS, **IFEVAL}
    if not isinstance(kind, str) or kind not in known:
        raise DataError(f"unknown kind of constraint {kind!r}; known: {', '.join(sorted(known))}")
    try:
        return known[kind].model_validate(parameters)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {told(item)}" for item in error.errors())
        raise DataError(f"constraint {kind!r}: {problems}") from None


def constraints_from(text: str) -> list[Check]:
    """Parse the constraints in a row's JSON text. Raises DataError if it is not such a list."""
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"column 'constraints' is not JSON text: {error}") from None
    if not isinstance(listed, list) or not listed or not all(isinstance(item, dict) for item in listed):
        raise DataError(
            'column \'constraints\' must be a JSON list such as [{"kind": "words_at_most", "most": 40}]; '
            f"found {text[:80]!r}"
        )
    return [constraint_from(item) for item in listed]
