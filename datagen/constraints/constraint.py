"""The base class of a constraint that prompts are made with: a check, its phrasings and its parameters drawn.

The idea, verifiable instructions combined with open requests, is IFEval's (Zhou et al. 2023,
"Instruction-Following Evaluation for Large Language Models", arXiv:2311.07911). The kinds, the phrasings and
the prompts here are our own.
"""

from __future__ import annotations

from enum import Enum
from random import Random
from typing import ClassVar, Self

from .check import Check


class Aspect(Enum):
    """The aspect of a response that a kind determines. Kinds with a common aspect are not combined."""

    START = "start"
    END = "end"
    CASE = "case"
    WORDS = "words"
    SENTENCES = "sentences"
    LAYOUT = "layout"
    INCLUDES = "includes"
    BANS = "bans"
    LETTERS = "letters"
    PUNCTUATION = "punctuation"
    MARKS = "marks"


EVERYTHING = frozenset(Aspect)


class Constraint(Check):
    """One verifiable constraint, as ``source: constraints`` draws it.

    ``claims``: the aspects that it determines. ``choice``: whether it
    only makes sense after a question with a short answer.
    """

    claims: ClassVar[frozenset[Aspect]]
    choice: ClassVar[bool] = False
    #: ``str.format`` templates over the parameters; :meth:`describe` picks one.
    phrasings: ClassVar[tuple[str, ...]]

    @classmethod
    def sample(cls, rng: Random) -> Self:
        """Draw the parameters."""
        return cls()

    def describe(self, rng: Random) -> str:
        """The constraint as an instruction: one sentence, in one of several phrasings."""
        return rng.choice(self.phrasings).format(**self.wording())

    def wording(self) -> dict[str, str]:
        """Return the parameters as they appear in a phrasing."""
        return {name: _read(value) for name, value in self}


def _read(value: object) -> str:
    if isinstance(value, tuple):
        quoted = [f'"{item}"' for item in value]
        return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
    return str(value)
