"""IFEval's checks of keywords, letters and commas."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, PositiveInt

from ..check import Check
from .parameters import Pattern, Relation, StrippedPattern, never_backtracks, stands


class Existence(Check):
    """Every keyword occurs, ignoring case; also inside a longer word."""

    kind = "keywords:existence"
    keywords: Annotated[tuple[Pattern, ...], Field(min_length=1)]

    @property
    def bounded(self) -> bool:
        return never_backtracks(*self.keywords)

    def holds(self, response: str, prompt: str) -> bool:
        return all(re.search(word, response, flags=re.IGNORECASE) for word in self.keywords)


class Frequency(Check):
    """The keyword occurs often enough or seldom enough, ignoring case; also inside a longer word."""

    kind = "keywords:frequency"
    keyword: StrippedPattern
    frequency: PositiveInt
    relation: Relation

    @property
    def bounded(self) -> bool:
        return never_backtracks(self.keyword)

    def holds(self, response: str, prompt: str) -> bool:
        found = len(re.findall(self.keyword, response, flags=re.IGNORECASE))
        return stands(self.relation, found, self.frequency)


class NoForbiddenWords(Check):
    """None of the words occurs as a whole word, ignoring case."""

    kind = "keywords:forbidden_words"
    forbidden_words: Annotated[tuple[Pattern, ...], Field(min_length=1)]

    @property
    def bounded(self) -> bool:
        return never_backtracks(*self.forbidden_words)

    def holds(self, response: str, prompt: str) -> bool:
        return not any(
            re.search(rf"\b{word}\b", response, flags=re.IGNORECASE) for word in self.forbidden_words
        )


class LetterFrequency(Check):
    """The character occurs often enough or seldom enough, ignoring case.

    IFEval draws a letter at random in place of a character outside a to z. Here that character is counted,
    as the prompt asks.
    """

    kind = "keywords:letter_frequency"
    letter: Annotated[str, Field(min_length=1, max_length=1)]
    let_frequency: PositiveInt
    let_relation: Relation

    def holds(self, response: str, prompt: str) -> bool:
        found = response.lower().count(self.letter.lower())
        return stands(self.let_relation, found, self.let_frequency)


class NoComma(Check):
    """No comma."""

    kind = "punctuation:no_comma"

    def holds(self, response: str, prompt: str) -> bool:
        return "," not in response
