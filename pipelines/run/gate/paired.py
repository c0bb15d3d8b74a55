"""Tests and bounds for the mean difference of two models on the same items."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: A z-score that no evidence exceeds.
MOST = 38.0
#: A difference of two scores up to which they are equal but for rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Differences:
    """The score of one model minus that of another, item by item: float64, shape ``(items,)``, finite.

    If every item is passed or failed, the test is Tango's score test for paired proportions (1998,
    "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design"), which is McNemar's test if the difference to exceed is 0. Its correction for continuity is that
    of Edwards (1948), with which it rejects nothing at a level of up to 0.1 that the exact sign test does
    not. Otherwise it is Student's t-test of the differences, with the same correction: by the smallest
    difference of an item, which is next to nothing where scores are continuous.
    """

    values: NDArray[np.float64]

    @property
    def n(self) -> int:
        return int(self.values.size)

    @property
    def mean(self) -> float:
        return float(self.values.mean()) if self.n else 0.0

    @cached_property
    def spread(self) -> float:
        """The variance of an item's difference. With few items that differ, that of one more."""
        if self.n == 0:
            return 1.0
        if not self.is_binary:
            return self.error()[0] * self.n
        return (self._wins + self._losses + 1) / (self.n + 1) - self.mean**2

    @cached_property
    def is_binary(self) -> bool:
        """Is every item passed or failed by either model?"""
        return bool(np.isin(self.values, (-1.0, 0.0, 1.0)).all())

    @cached_property
    def _wins(self) -> float:
        return float((self.values == 1.0).sum())

    @cached_property
    def _losses(self) -> float:
        return float((self.values == -1.0).sum())

    @cached_property
    def _step(self) -> float:
        """The smallest difference of an item, as a part of the mean: the correction for continuity."""
        sizes = np.abs(self.values)
        differing = sizes[sizes > _ROUNDING]
        return float(differing.min()) / self.n if differing.size else 0.0

    def above(self, value: float) -> float:
        """The evidence that the mean exceeds ``value``, as a z-score: 1.96 is a one-sided p of 0.025."""
        if self.n == 0:
            return -MOST
        if self.is_binary:
            return tango(self._wins, self._losses, self.n, value)
        return _student(self.mean - self._step, *self.error(), value)

    def below(self, value: float) -> float:
        """The evidence that the mean is less than ``value``, as a z-score."""
        return self.negated().above(-value)

    def low(self, z: float) -> float:
        """The largest value that the mean exceeds with the evidence ``z``; minus infinity without items."""
        if self.n == 0:
            return -inf
        if not self.is_binary:
            return _student_bound(self.mean - self._step, *self.error(), z)
        return self._reached(z)

    def _reached(self, z: float) -> float:
        """The largest value in -1..1 that the mean exceeds with the evidence ``z``."""
        low, high = -1.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2.0
            low, high = (middle, high) if self.above(middle) >= z else (low, middle)
        return low

    def high(self, z: float) -> float:
        """The smallest value that the mean is below with the evidence ``z``; infinity without items."""
        return -self.negated().low(z)

    def negated(self) -> Differences:
        """The differences the other way around."""
        return Differences(-self.values)

    def error(self) -> tuple[float, float]:
        """The variance of the mean, and its degrees of freedom; those are 0 if nothing is known of it."""
        if self.n < 2:
            return inf, 0.0
        return float(self.values.var(ddof=1)) / self.n, self.n - 1.0


@dataclass(frozen=True, eq=False)
class StudentsDifferences(Differences):
    """The mean differences of several students that were trained on the same rows with different seeds.

    ``students``: the differences of each, float64 ``(students, items)``; ``values`` is their mean. The
    variance of the mean is that of choosing the items plus that of choosing the seeds, with the degrees of
    freedom of Satterthwaite (1946, "An approximate distribution of estimates of variance components").

    If every item is passed or failed, there is no more evidence than Tango's test finds for a student with
    the average number of wins and losses. Where few items differ, or none, their variance is far too small.
    """

    students: NDArray[np.float64]

    @cached_property
    def spread(self) -> float:
        found = super().spread
        if not self._is_counted:
            return found
        return max(found, (self._wins + self._losses + 1) / (self.n + 1) - self.mean**2)

    @cached_property
    def _is_counted(self) -> bool:
        """Is every item passed or failed, by at least two students?"""
        return self.n > 0 and len(self.students) > 1 and Differences(self.students).is_binary

    @cached_property
    def _wins(self) -> float:
        return float((self.students == 1.0).sum()) / len(self.students)

    @cached_property
    def _losses(self) -> float:
        return float((self.students == -1.0).sum()) / len(self.students)

    def above(self, value: float) -> float:
        if not self._is_counted:
            return super().above(value)
        counted = tango(self._wins, self._losses, self.n, value)
        return min(counted, super().above(value)) if self.error()[1] else counted

    def low(self, z: float) -> float:
        return self._reached(z) if self._is_counted else super().low(z)

    @cached_property
    def is_binary(self) -> bool:
        return False

    def negated(self) -> StudentsDifferences:
        return StudentsDifferences(-self.values, -self.students)

    def error(self) -> tuple[float, float]:
        number = len(self.students)
        if self.n < 2 or number < 2:
            return inf, 0.0
        items = float(self.values.var(ddof=1)) / self.n
        seeds = float(self.students.mean(axis=1).var(ddof=1)) / number
        weight = items**2 / (self.n - 1) + seeds**2 / (number - 1)
        return items + seeds, (items + seeds) ** 2 / weight if weight else 0.0


def tango(wins: float, losses: float, n: int, value: float) -> float:
    """Tango's z-score that the share of wins minus that of losses exceeds ``value``, with the correction."""
    a = 2.0 * n
    b = -wins - losses + (2.0 * n - wins + losses) * value
    c = -losses * value * (1.0 - value)
    # The most likely share of losses, if the difference were exactly `value`.
    share = (sqrt(max(0.0, b * b - 4.0 * a * c)) - b) / (2.0 * a)
    variance = n * (2.0 * share + value * (1.0 - value))
    evidence = wins - losses - n * value - 1.0
    if variance <= 1e-12:
        return 0.0 if evidence <= 0.0 else MOST
    return evidence / sqrt(variance)


def _student(mean: float, variance: float, freedom: float, value: float) -> float:
    """The z-score with the p-value of Student's t-test."""
    from scipy.special import ndtri, stdtr

    if not freedom or not variance:
        return 0.0  # nothing is known of how items differ
    t = (mean - value) / sqrt(variance)
    return float(np.clip(-ndtri(stdtr(freedom, -t)), -MOST, MOST))


def _student_bound(mean: float, variance: float, freedom: float, z: float) -> float:
    from scipy.special import ndtr, stdtrit

    if not freedom or not variance:
        return -inf
    return mean + float(stdtrit(freedom, ndtr(-z))) * sqrt(variance)
