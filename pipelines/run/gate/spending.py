"""Group-sequential boundaries: the evidence that each look must give, for one error rate over all looks.

Lan and DeMets (1983, "Discrete sequential boundaries for clinical trials"), with their spending function of
the kind of O'Brien and Fleming (1979): hardly any error is spent on early looks, and the last look decides
almost as a test of all items at once would. The probabilities are computed by the recursion of Armitage,
McPherson and Rowe (1969) over the partial sums of a Brownian motion.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Points of the grid over the partial sums, an odd number for Simpson's rule.
POINTS = 401
#: The grid starts this many standard deviations below the mean.
REACH = 8.0
#: A boundary that is never crossed.
NEVER = 20.0

_NORMAL = NormalDist()


def spent(level: float, share: float) -> float:
    """The one-sided error that is spent when a ``share`` (0 to 1] of the items is known."""
    if share >= 1.0:
        return level
    return 2.0 * (1.0 - _NORMAL.cdf(_NORMAL.inv_cdf(1.0 - level / 2.0) / share**0.5))


@cache
def boundaries(level: float, shares: tuple[float, ...]) -> tuple[float, ...]:
    """The z-score that rejects at each look, at the one-sided error rate ``level`` over all looks.

    ``shares``: the share of all items that each look knows, increasing, the last one 1. Raises ValueError if
    they are not, or if the level is not in (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"need 0 < level < 1, found {level}")
    if not shares or shares[-1] != 1.0 or shares[0] <= 0.0 or any(a >= b for a, b in pairwise(shares)):
        raise ValueError(f"need increasing shares in (0, 1] that end with 1, found {shares}")
    found: list[float] = []
    walk = _Walk(shares)
    for share, before in zip(shares, (0.0, *shares)):
        least = spent(level, share) - (spent(level, before) if before else 0.0)
        low, high = -NEVER, NEVER
        for _ in range(60):
            middle = (low + high) / 2.0
            low, high = (middle, high) if walk.crossing(middle) > least else (low, middle)
        found.append(high)
        walk.step(high)
    return tuple(found)


def crossing(
    bounds: Sequence[float], shares: Sequence[float], drift: float = 0.0, start: float = 0.0
) -> float:
    """The probability of crossing one of the ``bounds``.

    ``drift``: the expected z-score once all items are known, and ``start`` what is added to it. Without both
    it is the error rate, with those of an effect the power.
    """
    walk, total = _Walk(shares, drift, start), 0.0
    for bound in bounds:
        total += walk.crossing(bound)
        walk.step(bound)
    return total


class _Walk:
    """The density of the partial sum among the paths that have crossed no boundary yet."""

    def __init__(self, shares: Sequence[float], drift: float = 0.0, start: float = 0.0) -> None:
        self.shares = tuple(shares)
        self.drift = drift
        self.look = 0
        #: The points, and the probability that belongs to each; at first the sum is ``start``.
        self.points: NDArray[np.float64] = np.full(1, start)
        self.mass: NDArray[np.float64] = np.ones(1)

    def crossing(self, bound: float) -> float:
        """The probability of crossing ``bound`` (a z-score) at the next look, and none before."""
        from scipy.special import ndtr

        share, width = self._next()
        ahead = bound * share**0.5 - self.points - self.drift * width
        return float((self.mass * ndtr(-ahead / width**0.5)).sum())

    def step(self, bound: float) -> None:
        """Go on to the next look with the paths below ``bound``."""
        share, width = self._next()
        top = bound * share**0.5
        bottom = min(top, self.drift * share) - REACH * share**0.5
        points = np.linspace(bottom, top, POINTS)
        weights = np.full(POINTS, 2.0)
        weights[1::2] = 4.0
        weights[[0, -1]] = 1.0
        weights *= (points[1] - points[0]) / 3.0
        away = points[:, None] - self.points[None, :] - self.drift * width
        density = np.exp(-(away**2) / (2.0 * width)) @ self.mass / (2.0 * np.pi * width) ** 0.5
        self.points, self.mass, self.look = points, weights * density, self.look + 1

    def _next(self) -> tuple[float, float]:
        """The share at the next look, and by how much it grows."""
        share = self.shares[self.look]
        return share, share - (self.shares[self.look - 1] if self.look else 0.0)
