"""``trials:`` of a generator: policies that decide how many samples a row gets, as its answers arrive.

Each policy is a pure function of the samples that a row has so far, so the samples of a row do not depend on
its neighbors. A generator sends requests in waves: everything that the rows of a micro-batch still need, at
once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, comb
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from ...contracts.frozen import Frozen
from ...contracts.outcomes import Failed, Kept, Outcome
from .answer_check import passes


@dataclass(frozen=True, slots=True)
class Trial:
    """One judged sample of a row.

    ``outcomes``: one row per record in its text, or why there is none. ``answered``: false if the engine
    could not serve the request. ``unjudged``: those of the outcomes that were records until the check failed,
    unless the answer itself lacked what is judged.
    """

    outcomes: tuple[Outcome, ...]
    answered: bool = True
    unjudged: tuple[Failed, ...] = ()

    @property
    def passed(self) -> bool:
        return passes(self.outcomes)

    def value(self, column: str) -> str | None:
        """Return ``column`` of the first record, as text."""
        found = next((each.row.get(column) for each in self.outcomes if isinstance(each, Kept)), None)
        return None if found is None else str(found)


def without_verdict(trials: Sequence[Trial]) -> Failed | None:
    """Return why the first answer that could not be judged was not; None if all were."""
    found = next((each for trial in trials for each in trial.unjudged), None)
    return None if found is None else Failed(found.error)


class Policy(Frozen):
    """Decides when a row has enough samples."""

    def judges(self) -> bool:
        """Whether it requires a ``check``."""
        return True

    @abstractmethod
    def more(self, trials: Sequence[Trial]) -> int:
        """Return how many samples to draw next; 0 to stop."""

    @abstractmethod
    def most(self) -> int:
        """Return the maximum number of samples per row."""

    def wanted(self, trials: Sequence[Trial]) -> int | None:
        """Return how many passing samples of a finished row to keep; None for all."""
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
    """Ask until enough answers passed, so that hard rows get more attempts.

    With the same number of passes for every row this is the uniform strategy of DART (Tong et al., arXiv
    2407.13690), and KodCode's additional attempts at hard questions (Xu et al., arXiv 2503.02951). The size
    of a wave of requests is the number of missing passes or the number of attempts so far, whichever is
    larger.
    """

    kind: Literal["until_passed"] = "until_passed"
    """Name of this policy."""
    passes: PositiveInt = 1
    """Number of passing answers after which no more are requested."""
    at_most: PositiveInt = 8
    """Maximum number of answers per row, even if too few passed."""

    def more(self, trials: Sequence[Trial]) -> int:
        missing = self.passes - sum(trial.passed for trial in trials)
        return 0 if missing <= 0 else min(max(missing, len(trials)), self.at_most - len(trials))

    def most(self) -> int:
        return self.at_most

    def wanted(self, trials: Sequence[Trial]) -> int | None:
        return self.passes


class ByDifficulty(Policy):
    """Collect passing answers in proportion to difficulty.

    This is DART's Prop2Diff (Tong et al., arXiv 2407.13690). A few pilot answers measure the share that
    fails. A row whose pilot answers all fail gets ``passes`` passing answers. Other rows get ``passes`` times
    the failing share, and at least one.
    """

    kind: Literal["by_difficulty"] = "by_difficulty"
    """Name of this policy."""
    pilot: PositiveInt = 4
    """Pilot answers per row, which measure its difficulty."""
    passes: PositiveInt = 4
    """Number of passing answers for a row whose pilot answers all fail. Easier rows get fewer."""
    at_most: PositiveInt = 16
    """Maximum number of answers per row, including the pilot answers."""

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
    """Ask until the most frequent answer leads with sufficient probability.

    This is Adaptive-Consistency (Aggarwal et al., arXiv 2305.11860) with its Beta criterion: the probability,
    under a uniform prior, that the first of two answers is more likely than the second.
    """

    kind: Literal["until_certain"] = "until_certain"
    """Name of this policy."""
    answer: str
    """Column of the parser whose values are counted."""
    certainty: float = Field(default=0.95, gt=0.5, lt=1)
    """Probability that the most frequent value is more likely than the second. No more answers are requested
    once it is reached."""
    pilot: PositiveInt = 3
    """Minimum number of answers per row."""
    at_most: PositiveInt = 16
    """Maximum number of answers per row."""

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
