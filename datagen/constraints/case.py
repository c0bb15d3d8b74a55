"""Constraints on letter case."""

from __future__ import annotations

from random import Random
from typing import Self

from .constraint import Aspect, Constraint
from .text_measures import words


class LowerCase(Constraint):
    """No capital letters, and at least one letter."""

    kind = "lower_case"
    claims = frozenset({Aspect.CASE})
    phrasings = (
        "Write everything in lower case letters.",
        "Use only lowercase letters; no capital letters at all.",
        "Your whole answer must be in lowercase.",
    )

    def holds(self, response: str, prompt: str) -> bool:
        return response.islower()


class UpperCase(Constraint):
    """No lowercase letters, and at least one letter."""

    kind = "upper_case"
    claims = frozenset({Aspect.CASE})
    phrasings = (
        "Write everything in CAPITAL LETTERS.",
        "Use only uppercase letters; no lowercase letters at all.",
        "Your whole answer must be in all capitals.",
    )

    def holds(self, response: str, prompt: str) -> bool:
        return response.isupper()


class CapitalWords(Constraint):
    """At least ``least`` words of two or more letters, all of them capitals."""

    kind = "capital_words"
    claims = frozenset({Aspect.CASE})
    phrasings = (
        "Write at least {least} words in ALL CAPITALS.",
        "Use words in all capital letters at least {least} times.",
        "Stress {least} or more words by writing them in FULL CAPITALS.",
    )
    least: int

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(least=rng.randint(2, 5))

    def holds(self, response: str, prompt: str) -> bool:
        return sum(len(word) > 1 and word.isupper() for word in words(response)) >= self.least


class FewCapitals(Constraint):
    """At most ``most`` words that begin with a capital letter."""

    kind = "few_capitals"
    claims = frozenset({Aspect.CASE})
    phrasings = (
        "At most {most} words may begin with a capital letter.",
        "Begin no more than {most} words with a capital letter.",
        "Use {most} capitalised words or fewer.",
    )
    most: int

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(most=rng.randint(3, 8))

    def holds(self, response: str, prompt: str) -> bool:
        return sum(word[0].isupper() for word in words(response)) <= self.most
