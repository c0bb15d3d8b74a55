"""Constraints on how a response begins and ends."""

from __future__ import annotations

import re
from random import Random
from typing import Literal, Self

from .constraint import Aspect, Constraint
from .text_measures import lines, words
from .vocabulary import CLOSINGS, GREETINGS, OPENINGS


class StartsWith(Constraint):
    """Begins with ``phrase``, ignoring case."""

    kind = "starts_with"
    claims = frozenset({Aspect.START})
    phrasings = (
        'Start your answer with "{phrase}".',
        'The first words of your answer must be "{phrase}".',
        'Begin with "{phrase}".',
    )
    phrase: str

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(phrase=rng.choice(GREETINGS))

    def holds(self, response: str, prompt: str) -> bool:
        return re.match(rf"\s*{re.escape(self.phrase)}(?!\w)", response, flags=re.IGNORECASE) is not None


class FirstWord(Constraint):
    """The first word is ``word``, ignoring case."""

    kind = "first_word"
    claims = frozenset({Aspect.START})
    phrasings = (
        'The first word of your answer must be "{word}".',
        'Use "{word}" as the very first word.',
        'Your first sentence must begin with the word "{word}".',
    )
    word: str

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(word=rng.choice(OPENINGS))

    def holds(self, response: str, prompt: str) -> bool:
        return [word.lower() for word in words(response)[:1]] == [self.word.lower()]


class EndsWith(Constraint):
    """Ends with ``phrase``, ignoring case."""

    kind = "ends_with"
    claims = frozenset({Aspect.END})
    phrasings = (
        'End your answer with the exact sentence "{phrase}"',
        'The last sentence must be "{phrase}" Write nothing after it.',
        'Finish with "{phrase}" and add no words after that.',
    )
    phrase: str

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(phrase=rng.choice(CLOSINGS))

    def holds(self, response: str, prompt: str) -> bool:
        return response.strip().lower().endswith(self.phrase.lower())


class EndsWithQuestion(Constraint):
    """The last character is a question mark."""

    kind = "ends_with_question"
    claims = frozenset({Aspect.END})
    phrasings = (
        "End your answer with a question.",
        "The last character of your answer must be a question mark.",
        "Close with a question to the reader.",
    )

    def holds(self, response: str, prompt: str) -> bool:
        return response.strip().endswith("?")


class Postscript(Constraint):
    """A line that begins with ``marker``, ignoring case, and is not empty after it."""

    kind = "postscript"
    claims = frozenset({Aspect.END})
    phrasings = (
        "At the end, add a postscript that starts with {marker}",
        "Add a postscript beginning with {marker} after your answer.",
        "Finish with a postscript. It must start with {marker}",
    )
    marker: Literal["P.S.", "P.P.S", "PS:"]

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(marker=rng.choice(("P.S.", "P.P.S", "PS:")))

    def holds(self, response: str, prompt: str) -> bool:
        below = [line.lstrip("*_#> ") for line in lines(response)]
        for number, line in enumerate(below):
            if line.lower().startswith(self.marker.lower()):
                return bool(words(" ".join([line[len(self.marker) :], *below[number + 1 :]])))
        return False


class Quoted(Constraint):
    """The whole response is enclosed in double quotation marks."""

    kind = "quoted"
    claims = frozenset({Aspect.START, Aspect.END})
    phrasings = (
        "Put your whole answer in double quotation marks.",
        "Wrap the entire response in double quotes.",
        'Your answer must begin and end with a double quotation mark (").',
    )

    def holds(self, response: str, prompt: str) -> bool:
        text = response.strip()
        return len(text) > 2 and text[0] in '"“' and text[-1] in '"”'


class RepeatRequest(Constraint):
    """Begins with the first line of the prompt, verbatim, and continues after it."""

    kind = "repeat_request"
    # The first line determines its own capitals, letters, commas and full stop.
    claims = frozenset(
        {
            Aspect.START,
            Aspect.CASE,
            Aspect.SENTENCES,
            Aspect.BANS,
            Aspect.LETTERS,
            Aspect.PUNCTUATION,
            Aspect.LAYOUT,
        }
    )
    phrasings = (
        "First repeat the first line of this message word for word, then give your answer.",
        "Before you answer, copy the first line of this request exactly as it is; then answer.",
        "Start by repeating the first line above without any change, and then write your answer.",
    )

    def holds(self, response: str, prompt: str) -> bool:
        first, text = prompt.strip().partition("\n")[0].strip(), response.strip()
        return bool(first) and text.startswith(first) and bool(words(text[len(first) :]))
