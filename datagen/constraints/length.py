"""Constraints on the length of a response: words, characters, sentences, paragraphs."""

from __future__ import annotations

import re
from random import Random
from typing import ClassVar, Literal, Self

from .constraint import Aspect, Constraint
from .text_measures import paragraphs, sentences, words


class WordsAtMost(Constraint):
    """No more than ``most`` words."""

    kind = "words_at_most"
    claims = frozenset({Aspect.WORDS})
    phrasings = (
        "Use at most {most} words.",
        "Your answer must not be longer than {most} words.",
        "Keep it to {most} words or fewer.",
    )
    most: int

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(most=rng.randrange(20, 65, 5))

    def holds(self, response: str, prompt: str) -> bool:
        return len(words(response)) <= self.most


class WordsAtLeast(Constraint):
    """No fewer than ``least`` words."""

    kind = "words_at_least"
    claims = frozenset({Aspect.WORDS})
    phrasings = (
        "Use at least {least} words.",
        "Your answer must have {least} words or more.",
        "Write no fewer than {least} words.",
    )
    least: int

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(least=rng.randrange(30, 75, 5))

    def holds(self, response: str, prompt: str) -> bool:
        return len(words(response)) >= self.least


class WordRange(Constraint):
    """Between ``least`` and ``most`` words, inclusive."""

    kind = "word_range"
    claims = frozenset({Aspect.WORDS})
    phrasings = (
        "Use between {least} and {most} words.",
        "The answer should be {least} to {most} words long.",
        "Write no fewer than {least} and no more than {most} words.",
    )
    least: int
    most: int

    @classmethod
    def sample(cls, rng: Random) -> Self:
        least = rng.randrange(15, 55, 5)
        return cls(least=least, most=least + rng.choice((15, 20, 25)))

    def holds(self, response: str, prompt: str) -> bool:
        return self.least <= len(words(response)) <= self.most


class CharactersAtMost(Constraint):
    """No more than ``most`` characters, spaces and line breaks counted."""

    kind = "characters_at_most"
    claims = frozenset({Aspect.WORDS})
    phrasings = (
        "Use at most {most} characters, spaces included.",
        "Your answer must fit in {most} characters.",
        "Do not write more than {most} characters.",
    )
    most: int

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(most=rng.randrange(140, 320, 20))

    def holds(self, response: str, prompt: str) -> bool:
        return len(response.strip()) <= self.most


class SentenceCount(Constraint):
    """``relation`` ``count`` sentences."""

    kind = "sentence_count"
    claims = frozenset({Aspect.SENTENCES, Aspect.LAYOUT})
    phrasings = (
        "Write {relation} {count} sentences.",
        "Your answer must have {relation} {count} sentences.",
        "Use {relation} {count} sentences in all.",
    )
    relation: Literal["exactly", "at most", "at least"]
    count: int

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(relation=rng.choice(("exactly", "at most", "at least")), count=rng.randint(2, 5))

    def holds(self, response: str, prompt: str) -> bool:
        found = len(sentences(response))
        return {
            "exactly": found == self.count,
            "at most": found <= self.count,
            "at least": found >= self.count,
        }[self.relation]


class OneSentence(Constraint):
    """A single sentence, ended by a full stop, a question mark or an exclamation mark."""

    kind = "one_sentence"
    claims = frozenset({Aspect.SENTENCES, Aspect.LAYOUT, Aspect.END})
    phrasings = (
        "Answer in a single sentence.",
        "Your whole answer must be one sentence.",
        "Write one sentence and nothing more.",
    )

    def holds(self, response: str, prompt: str) -> bool:
        text = response.strip().rstrip("\"'”’)*")
        return len(sentences(response)) == 1 and text.endswith((".", "!", "?"))


class ParagraphCount(Constraint):
    """Exactly ``count`` paragraphs, separated by blank lines."""

    kind = "paragraph_count"
    claims = frozenset({Aspect.LAYOUT})
    phrasings = (
        "Write exactly {count} paragraphs, separated by a blank line.",
        "Your answer must have {count} paragraphs with a blank line between them.",
        "Use {count} short paragraphs and leave an empty line between paragraphs.",
    )
    count: int

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(count=rng.randint(2, 4))

    def holds(self, response: str, prompt: str) -> bool:
        return len(paragraphs(response)) == self.count


class DividedParagraphs(Constraint):
    """Exactly ``count`` parts, separated by lines of ``divider``."""

    kind = "divided_paragraphs"
    claims = frozenset({Aspect.LAYOUT})
    phrasings = (
        "Write {count} short paragraphs and put a line with only {divider} between them.",
        "Give exactly {count} paragraphs. Separate them with {divider} on a line of its own.",
        "Your answer must have {count} paragraphs, divided by a line of {divider}.",
    )
    divider: Literal["***", "---", "###"]
    count: int

    dividers: ClassVar[tuple[Literal["***", "---", "###"], ...]] = ("***", "---", "###")

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(divider=rng.choice(cls.dividers), count=rng.randint(2, 3))

    def holds(self, response: str, prompt: str) -> bool:
        parts = re.split(rf"^[^\S\n]*{re.escape(self.divider)}[^\S\n]*$", response, flags=re.MULTILINE)
        return len(parts) == self.count and all(words(part) for part in parts)
