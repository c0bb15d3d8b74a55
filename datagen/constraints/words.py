"""Constraints on the words and letters of a response."""

from __future__ import annotations

from random import Random
from typing import Self

from .constraint import Aspect, Constraint
from .text_measures import occurrences, paragraphs, words
from .vocabulary import BANNED, KEYWORDS, OPENINGS


class Keywords(Constraint):
    """All of ``words``, ignoring case."""

    kind = "keywords"
    claims = frozenset({Aspect.INCLUDES})
    phrasings = (
        "Include {words} in your answer.",
        "Your answer must contain {words}.",
        "Make sure to use {words} somewhere.",
    )
    words: tuple[str, ...]

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(words=tuple(rng.sample(KEYWORDS, rng.randint(1, 3))))

    def holds(self, response: str, prompt: str) -> bool:
        return all(occurrences(word, response) for word in self.words)


class KeywordCount(Constraint):
    """``word`` at least ``least`` times."""

    kind = "keyword_count"
    claims = frozenset({Aspect.INCLUDES})
    phrasings = (
        'Use the word "{word}" at least {least} times.',
        'The word "{word}" must appear {least} or more times.',
        'Mention "{word}" at least {least} times.',
    )
    word: str
    least: int

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(word=rng.choice(KEYWORDS), least=rng.randint(2, 4))

    def holds(self, response: str, prompt: str) -> bool:
        return occurrences(self.word, response) >= self.least


class ForbiddenWords(Constraint):
    """None of ``words``, ignoring case."""

    kind = "forbidden_words"
    claims = frozenset({Aspect.BANS})
    phrasings = (
        "Do not use the words {words}.",
        "Avoid the words {words}.",
        "Your answer must not contain the words {words}.",
    )
    words: tuple[str, ...]

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(words=tuple(rng.sample(BANNED, rng.randint(2, 4))))

    def holds(self, response: str, prompt: str) -> bool:
        return not any(occurrences(word, response) for word in self.words)


class ForbiddenLetter(Constraint):
    """No ``letter``, ignoring case."""

    kind = "forbidden_letter"
    # A phrase, label or keyword of another kind may contain the letter.
    claims = frozenset(
        {Aspect.BANS, Aspect.LETTERS, Aspect.INCLUDES, Aspect.START, Aspect.END, Aspect.LAYOUT, Aspect.MARKS}
    )
    phrasings = (
        'Do not use the letter "{letter}".',
        'The letter "{letter}" must not appear anywhere.',
        'Avoid every word with the letter "{letter}".',
    )
    letter: str

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(letter=rng.choice("bcfgjkpqvwxyz"))

    def holds(self, response: str, prompt: str) -> bool:
        return self.letter not in response.lower()


class LetterCount(Constraint):
    """``letter`` at least ``least`` times, ignoring case."""

    kind = "letter_count"
    claims = frozenset({Aspect.LETTERS})
    phrasings = (
        'Use the letter "{letter}" at least {least} times.',
        'The letter "{letter}" must appear {least} or more times.',
        'Let the letter "{letter}" occur no fewer than {least} times.',
    )
    letter: str
    least: int

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(letter=rng.choice("bcdfghklmpuvwy"), least=rng.randint(4, 10))

    def holds(self, response: str, prompt: str) -> bool:
        return response.lower().count(self.letter) >= self.least


class NoCommas(Constraint):
    """No comma."""

    kind = "no_commas"
    claims = frozenset({Aspect.PUNCTUATION})
    phrasings = (
        "Do not use any commas.",
        "Avoid commas altogether.",
        "Your answer must not contain a comma.",
    )

    def holds(self, response: str, prompt: str) -> bool:
        return "," not in response


class NoExclamation(Constraint):
    """No exclamation mark."""

    kind = "no_exclamation"
    claims = frozenset({Aspect.PUNCTUATION})
    phrasings = (
        "Do not use exclamation marks.",
        "Your answer must not contain an exclamation mark.",
        "Leave out exclamation marks altogether.",
    )

    def holds(self, response: str, prompt: str) -> bool:
        return "!" not in response


class ParagraphOpening(Constraint):
    """Exactly ``count`` paragraphs, the ``number``-th of which begins with ``word``."""

    kind = "paragraph_opening"
    claims = frozenset({Aspect.LAYOUT, Aspect.START})
    phrasings = (
        "Write {count} paragraphs separated by a blank line; paragraph {number} must start with the "
        'word "{word}".',
        'Use {count} paragraphs with a blank line between them, and begin paragraph {number} with "{word}".',
        'There must be {count} paragraphs divided by blank lines. Start paragraph {number} with "{word}".',
    )
    count: int
    number: int
    word: str

    @classmethod
    def sample(cls, rng: Random) -> Self:
        count = rng.randint(2, 3)
        return cls(count=count, number=rng.randint(1, count), word=rng.choice(OPENINGS))

    def holds(self, response: str, prompt: str) -> bool:
        found = paragraphs(response)
        if len(found) != self.count or not 1 <= self.number <= len(found):
            return False
        first = [word.lower() for word in words(found[self.number - 1])[:1]]
        return first == [self.word.lower()]
