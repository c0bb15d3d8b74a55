"""One evaluation as the gate sees it: what is known of its items so far, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from .paired import Differences, StudentsDifferences
from .spending import NEVER, boundaries

if TYPE_CHECKING:
    from numpy.typing import NDArray

Role: TypeAlias = Literal["promote", "transfer", "retain"]

#: The chance that the predicted number of items settles a yardstick.
POWER_Z = 0.8416
#: More items than this are not predicted.
MOST_ITEMS = 1_000_000


@dataclass(frozen=True, eq=False)
class Measured:
    """The items of a yardstick that are known at one look, those of earlier looks included.

    ``differences``: the score of the student minus that of the teacher, float64 ``(items,)``. ``failed``: the
    number of further items that could not be measured. ``students``: if there are several, the differences of
    each, float64 ``(students, items)``; ``differences`` is then their mean.
    """

    differences: NDArray[np.float64]
    failed: int = 0
    students: NDArray[np.float64] | None = None

    def bounded(self, side: float) -> Differences:
        """The differences if all items that failed had gone for the student (1.0) or against it (-1.0).

        A pass or a fail is worth 1, any other score the largest difference that was measured.
        """
        each = self.differences[None, :] if self.students is None else self.students
        most = 1.0
        if each.size and not Differences(each).is_binary:
            most = float(np.abs(each).max())
        every = np.pad(each, ((0, 0), (0, self.failed)), constant_values=side * most)
        return (
            Differences(every[0]) if self.students is None else StudentsDifferences(every.mean(axis=0), every)
        )


@dataclass(frozen=True, eq=False)
class Yardstick:
    """An evaluation with its role.

    ``weight``: its share of the error rate among the promoting ones. ``margin``: by how much a retention
    suite may fall. ``looks``: what was known at each look so far. ``shares``: the share of all its items that
    each look knows, those to come included; the last one is 1.
    """

    name: str
    role: Role
    looks: tuple[Measured, ...]
    shares: tuple[float, ...] = (1.0,)
    weight: float = 1.0
    margin: float = 0.0

    def exceeds(self, value: float, level: float) -> bool:
        """Has a look shown that the mean difference is above ``value``, at an error rate over all looks?

        Items that failed count as if they had gone against the student.
        """
        bounds = boundaries(level, self.shares)
        return any(each.bounded(-1.0).above(value) >= bound for each, bound in zip(self.looks, bounds))

    def is_below(self, value: float, level: float) -> bool:
        """Has a look shown that it is below ``value``? Items that failed count in favor of the student."""
        bounds = boundaries(level, self.shares)
        return any(each.bounded(1.0).below(value) >= bound for each, bound in zip(self.looks, bounds))

    def interval(self, level: float) -> tuple[float, float]:
        """The mean difference, at an error rate ``level`` for each end over all looks.

        The repeated confidence interval of Jennison and Turnbull (1989, "Interim analyses: the repeated
        confidence interval approach"). It holds whatever the items that failed would have given.
        """
        if not self.looks:
            return -inf, inf
        z = boundaries(level, self.shares)[len(self.looks) - 1]
        if z >= NEVER:
            return -inf, inf
        last = self.looks[-1]
        return last.bounded(-1.0).low(z), last.bounded(1.0).high(z)

    def gain(self) -> float | None:
        """The mean difference of the items that were measured; None if there are none."""
        found = self.looks[-1].differences if self.looks else None
        return float(found.mean()) if found is not None and found.size else None

    def items(self) -> int:
        return self.looks[-1].differences.size + self.looks[-1].failed if self.looks else 0

    def needed(self, value: float, level: float) -> int | None:
        """How many items would show that the mean is above ``value``, with a chance of 80 %.

        If the true mean is the one that was measured, at the same share of failed items. None if it is not
        above ``value``, if nothing is known of how items differ, or if it takes more than a million items.
        """
        if not self.looks:
            return None
        found = self.looks[-1].bounded(-1.0)
        if found.n < 2 or found.mean <= value or not found.spread:
            return None
        z = boundaries(level, self.shares)[-1] + POWER_Z
        items = ceil(found.spread * (z / (found.mean - value)) ** 2)
        return max(items, found.n + 1) if items <= MOST_ITEMS else None
