"""Constraints on marks inside the text: a title, placeholders, highlights, parentheses."""

from __future__ import annotations

import re
from random import Random
from typing import Self

from .constraint import Aspect, Constraint
from .text_measures import words


class Title(Constraint):
    """A title in double angular brackets on the first line: ``<<a title>>``."""

    kind = "title"
    claims = frozenset({Aspect.MARKS, Aspect.START})
    phrasings = (
        "Give your answer a title in double angular brackets, such as <<title>>.",
        "Start with a title wrapped in << and >>.",
        "Your answer must have a title, written as <<your title>>, on its first line.",
    )

    def holds(self, response: str, prompt: str) -> bool:
        first = response.strip().partition("\n")[0]
        found = re.match(r"\W*<<([^<>\n]+)>>", first)
        return found is not None and bool(words(found[1]))


class Placeholders(Constraint):
    """At least ``least`` placeholders in square brackets: ``[name]``."""

    kind = "placeholders"
    claims = frozenset({Aspect.MARKS})
    phrasings = (
        "Use at least {least} placeholders in square brackets, such as [name].",
        "Include {least} or more placeholders written in square brackets, like [date].",
        "There must be at least {least} placeholders such as [address] in your answer.",
    )
    least: int

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(least=rng.randint(2, 4))

    def holds(self, response: str, prompt: str) -> bool:
        return len(re.findall(r"\[[^\[\]\n\w]*+\w[^\[\]\n]*+\]", response)) >= self.least


class Highlights(Constraint):
    """At least ``least`` passages between asterisks, single or double, within a line."""

    kind = "highlights"
    claims = frozenset({Aspect.MARKS})
    phrasings = (
        "Highlight at least {least} phrases with asterisks, like *this*.",
        "Mark {least} or more parts of your answer in Markdown, as in *highlighted part*.",
        "Use *asterisks* around at least {least} words or phrases.",
    )
    least: int

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(least=rng.randint(2, 4))

    def holds(self, response: str, prompt: str) -> bool:
        found = re.findall(r"(?<!\*)(\*{1,2})(?=[^\s*])([^*\n]*[^\s*])\1(?!\*)", response)
        return len(found) >= self.least


class Parentheses(Constraint):
    """At least ``least`` remarks in round brackets."""

    kind = "parentheses"
    claims = frozenset({Aspect.MARKS})
    phrasings = (
        "Add at least {least} remarks in parentheses (like this).",
        "Use parentheses (round brackets) at least {least} times.",
        "Put {least} or more asides in round brackets.",
    )
    least: int

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(least=rng.randint(2, 4))

    def holds(self, response: str, prompt: str) -> bool:
        return len(re.findall(r"\([^()\n\w]*+\w[^()\n]*+\)", response)) >= self.least
