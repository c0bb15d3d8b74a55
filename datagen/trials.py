"""``trials:`` of a generator: how many samples a row gets, decided while they come in.

Each policy is a pure function of the samples that a row has so far, so a row's samples do not depend on
its neighbours. A generator asks in waves: whatever all rows of a micro-batch still need, at once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, comb
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from ..pipelines.frozen import Frozen
from ..pipelines.operator import Kept, Outcome
from .check import passes


@dataclass(frozen=True, slots=True)
class Trial:
    """One sample of a row, judged. ``outcomes``: a row for each record that its text held, or why there is none.
    ``answered``: false where the engine could not serve the request."""

    outcomes: tuple[Outcome, ...]
    answered: bool = True

    @property
    def passed(self) -> bool:
        return passes(self.outcomes)

    def value(self, column: str) -> str | None:
        """What the first record says in ``column``, as text."""
        found = next((each.row.get(column) for each in self.outcomes if isinstance(each, Kept)), None)
        return None if found is None else str(found)


class Policy(Frozen):
    """When a row has enough samples."""

    def judges(self) -> bool:
        """Does it need a ``check``?"""
        return True

    @abstractmethod
    def more(self, trials: Sequence[Trial]) -> int:
        """How many samples to draw next; 0 ends it."""

    @abstractmethod
    def most(self) -> int:
        """The most samples that a row can get."""

    def wanted(self, trials: Sequence[Trial]) -> int | None:
        """How many passing samples to keep of a row that is done; None for all."""
        return None


class Fixed(Policy):
    """The same number for every row."""

    samples: PositiveInt
    """Answers per row."""

    def judges(self) -> bool:
        return False

    def more(self, trials: Sequence[Trial]) -> int:
        return 0 if trials else self.samples

    def most(self) -> int:
        return self.samples


class UntilPassed(Policy):
    """Ask until enough answers passed: more attempts for what is hard.

    With one number of passes for every row this is DART's uniform strategy (Tong et al., arXiv 2407.13690),
    and KodCode's further attempts for hard questions (Xu et al., arXiv 2503.02951). A wave of requests is as
    large as the number of passes that are missing, or as the number of attempts so far, whichever is larger.
    """

    kind: Literal["until_passed"] = "until_passed"
    """Name of this policy."""
    passes: PositiveInt = 1
    """Answers that must pass before no more are asked for."""
    at_most: PositiveInt = 8
    """Most answers per row, whether or not enough passed."""

    def more(self, trials: Sequence[Trial]) -> int:
        missing = self.passes - sum(trial.passed for trial in trials)
        return 0 if missing <= 0 else min(max(missing, len(trials)), self.at_most - len(trials))

    def most(self) -> int:
        return self.at_most

    def wanted(self, trials: Sequence[Trial]) -> int | None:
        return self.passes


class ByDifficulty(Policy):
    """Collect passing answers in proportion to difficulty: DART's Prop2Diff (Tong et al., arXiv 2407.13690).

    A few pilot answers measure the share that fails. A row whose pilot fails throughout gets ``passes``
    passing answers, others that share of it, at least one.
    """

    kind: Literal["by_difficulty"] = "by_difficulty"
    """Name of this policy."""
    pilot: PositiveInt = 4
    """Answers per row that measure its difficulty."""
    passes: PositiveInt = 4
    """Passing answers that a row gets whose pilot answers all fail; easier rows get fewer."""
    at_most: PositiveInt = 16
    """Most answers per row, pilot included."""

    def more(self, trials: Sequence[Trial]) -> int:
        if len(trials) < self.pilot:
            return min(self.pilot, self.at_most) - len(trials)
        missing = self._owed(trials) - sum(trial.passed for trial in trials)
        return 0 if missing <= 0 else min(max(missing, self.pilot), self.at_most - len(trials))

    def most(self) -> int:
        return self.at_most

    def wanted(self, trials: Sequence[Trial]) -> int | None:
        return self._owed(trials)

    def _owed(self, trials: Sequence[Trial]) -> int:
        pilot = trials[: self.pilot]
        failed = sum(not trial.passed for trial in pilot)
        return max(1, ceil(self.passes * failed / len(pilot)))


class UntilCertain(Policy):
    """Ask until the most frequent answer is certain to lead: Adaptive-Consistency (Aggarwal et al., arXiv
    2305.11860).

    Its Beta criterion: the probability, under a uniform prior, that the first of two answers is the likelier
    one.
    """

    kind: Literal["until_certain"] = "until_certain"
    """Name of this policy."""
    answer: str
    """Column, made by the parser, whose values are counted."""
    certainty: float = Field(default=0.95, gt=0.5, lt=1)
    """Probability that the most frequent value is likelier than the second, at which no more answers are
    asked for."""
    pilot: PositiveInt = 3
    """Answers per row before the first count."""
    at_most: PositiveInt = 16
    """Most answers per row."""

    def judges(self) -> bool:
        return False

    def more(self, trials: Sequence[Trial]) -> int:
        if len(trials) < self.pilot:
            return min(self.pilot, self.at_most) - len(trials)
        if len(trials) >= self.at_most:
            return 0
        counts = Counter(value for trial in trials if (value := trial.value(self.answer)) is not None)
        first, second = ([count for _, count in counts.most_common(2)] + [0, 0])[:2]
        return 0 if first and ahead(first, second) >= self.certainty else 1

    def most(self) -> int:
        return self.at_most


def ahead(first: int, second: int) -> float:
    """P(p > 1/2) for p ~ Beta(first + 1, second + 1), exactly: a binomial tail."""
    n = first + second + 1
    return float(sum(comb(n, k) for k in range(first + 1)) / 2**n)


AnyPolicy = Annotated[UntilPassed | ByDifficulty | UntilCertain, Field(discriminator="kind")]
