"""Constraints on the layout of the whole response: lists, sections, JSON, one of several options."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Literal, Self

from .constraint import EVERYTHING, Aspect, Constraint
from .text_measures import lines, words
from .vocabulary import KEYS, OPTIONS


class Bullets(Constraint):
    """Exactly ``count`` lines that begin with ``*``, ``-`` or ``•``."""

    kind = "bullets"
    claims = frozenset({Aspect.LAYOUT})
    phrasings = (
        "Use exactly {count} bullet points, each starting with *.",
        "Your answer must contain {count} bullet points in Markdown (* like this).",
        "Give {count} bullet points, no more and no fewer. Start each with *.",
    )
    count: int

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(count=rng.randint(2, 5))

    def holds(self, response: str, prompt: str) -> bool:
        return sum(re.match(r"[*\-•]\s+\S", line) is not None for line in lines(response)) == self.count


class NumberedList(Constraint):
    """Lines numbered 1 to ``count`` in order, and no other numbered line."""

    kind = "numbered_list"
    claims = frozenset({Aspect.LAYOUT})
    phrasings = (
        "Write a numbered list with exactly {count} items.",
        "Give exactly {count} points, numbered 1. to {count}.",
        "Answer with a numbered list of {count} entries, no more and no fewer.",
    )
    count: int

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(count=rng.randint(2, 5))

    def holds(self, response: str, prompt: str) -> bool:
        found = [match[1] for line in lines(response) if (match := re.match(r"([0-9]{1,3})[.)]\s+\S", line))]
        return found == [str(number) for number in range(1, self.count + 1)]


class Sections(Constraint):
    """Headings ``label 1`` to ``label count``, each on its own line or before a colon, in order."""

    kind = "sections"
    claims = frozenset({Aspect.LAYOUT})
    phrasings = (
        "Divide your answer into {count} sections, and mark them {label} 1, {label} 2 and so on.",
        'Write {count} short sections. Begin each with "{label}" and its number, like "{label} 1".',
        'Your answer must have {count} sections headed "{label} 1" to "{label} {count}".',
    )
    label: Literal["Section", "Part", "Step", "Chapter"]
    count: int

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(label=rng.choice(("Section", "Part", "Step", "Chapter")), count=rng.randint(2, 3))

    def holds(self, response: str, prompt: str) -> bool:
        heading = re.compile(rf"\W*{self.label}\s+([0-9]{{1,3}})(?![0-9])", re.IGNORECASE)
        found = [match[1] for line in lines(response) if (match := heading.match(line))]
        return found == [str(number) for number in range(1, self.count + 1)]


class CommaList(Constraint):
    """One line of exactly ``count`` items, separated by commas."""

    kind = "comma_list"
    claims = frozenset(
        {Aspect.LAYOUT, Aspect.PUNCTUATION, Aspect.SENTENCES, Aspect.WORDS, Aspect.END, Aspect.START}
    )
    phrasings = (
        "Answer only with {count} words or short phrases separated by commas.",
        "Give {count} keywords on one line, with a comma between them, and nothing else.",
        "Reply with a comma-separated list of exactly {count} items on a single line.",
    )
    count: int

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(count=rng.randint(3, 6))

    def holds(self, response: str, prompt: str) -> bool:
        items = response.strip().split(",")
        return (
            "\n" not in response.strip()
            and len(items) == self.count
            and all(1 <= len(words(item)) <= 8 for item in items)
        )


class JsonObject(Constraint):
    """A JSON object with exactly ``keys``, with or without a Markdown fence."""

    kind = "json_object"
    claims = frozenset(
        {
            Aspect.LAYOUT,
            Aspect.START,
            Aspect.END,
            Aspect.SENTENCES,
            Aspect.PUNCTUATION,
            Aspect.CASE,
            Aspect.WORDS,
        }
    )
    phrasings = (
        "Answer with a JSON object that has the keys {keys} and nothing else.",
        "Give your whole answer as JSON with the keys {keys}.",
        "Reply only with a JSON object. Its keys must be {keys}.",
    )
    keys: tuple[str, ...]

    @classmethod
    def sample(cls, rng: Random) -> Self:
        return cls(keys=tuple(rng.sample(KEYS, rng.randint(2, 3))))

    def holds(self, response: str, prompt: str) -> bool:
        text = re.sub(r"\A```(?:json)?[^\S\n]*\n|\n?```\Z", "", response.strip(), flags=re.IGNORECASE)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return False
        return isinstance(value, dict) and set(value) == set(self.keys)


class TwoResponses(Constraint):
    """Two different responses, separated by a line of six asterisks."""

    kind = "two_responses"
    claims = frozenset({Aspect.LAYOUT, Aspect.SENTENCES, Aspect.START, Aspect.END})
    phrasings = (
        "Give two different responses, separated by six asterisks: ******",
        "Write two different short answers with ****** between them.",
        "I want two different answers. Put ****** between the first and the second.",
    )

    def holds(self, response: str, prompt: str) -> bool:
        parts = [part.strip() for part in re.split(r"(?<!\*)\*{6}(?!\*)", response)]
        return len(parts) == 2 and all(words(part) for part in parts) and parts[0].lower() != parts[1].lower()


class ChooseFrom(Constraint):
    """Exactly one of ``options``, with or without a full stop, and nothing else."""

    kind = "choose_from"
    claims = EVERYTHING
    choice = True
    phrasings = (
        "Answer with one of the following: {options}",
        "Reply with exactly one of {options}",
        "Your whole answer must be one of these: {options}",
    )
    options: tuple[str, ...]

    @classmethod
    def sample(cls, rng: Random) -> Self:
        options = list(rng.choice(OPTIONS))
        rng.shuffle(options)
        return cls(options=tuple(options))

    def wording(self) -> dict[str, str]:
        return {"options": " / ".join(f'"{option}"' for option in self.options)}

    def holds(self, response: str, prompt: str) -> bool:
        answer = response.strip().strip("\"'“”*").rstrip(".").lower()
        return answer in {option.rstrip(".").lower() for option in self.options}
