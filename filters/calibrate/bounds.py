"""Exact bounds and tests for shares, from the binomial and the hypergeometric distribution."""

from __future__ import annotations

from functools import cache
from math import ceil, exp, log
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Most rows that an estimate asks for.
MOST_ROWS = 1_000_000


def binomial_tail(wrong: int, n: int, share: float) -> float:
    """Return the probability of at most ``wrong`` of ``n`` independent draws that each occur with ``share``.

    The p-value of "the share is at least this", exact. 1 if there are no draws.
    """
    import numpy as np

    if wrong >= n or share <= 0.0:
        return 1.0
    if share >= 1.0:
        return 0.0
    k = np.arange(wrong + 1)
    terms = _choose(n, k) + k * log(share) + (n - k) * np.log1p(-share)
    return min(1.0, float(np.exp(terms).sum()))


def hypergeometric_tail(wrong: int, n: int, bad: int, total: int) -> float:
    """Return the probability of at most ``wrong`` bad rows among ``n`` that are drawn from ``total``.

    ``bad`` of the ``total`` rows are bad; rows are drawn without replacement.
    """
    import numpy as np

    least, most = max(0, n - (total - bad)), min(n, bad)
    if wrong >= most:
        return 1.0
    k = np.arange(least, wrong + 1)
    terms = _choose(bad, k) + _choose(total - bad, n - k) - _choose(total, np.array([n]))
    return min(1.0, float(np.exp(terms).sum()))


def lower_bound(right: int, n: int, level: float) -> float:
    """Return the one-sided lower confidence bound of a share of which ``right`` of ``n`` draws were seen.

    Clopper and Pearson (1934): the share at which so many or more have the probability ``1 - level``.
    """
    if right <= 0:
        return 0.0
    if right == n:
        return exp(log(1.0 - level) / n)
    low, high = 0.0, right / n
    for _ in range(40):
        middle = (low + high) / 2
        # As many wrong ones or fewer, if a share of 1 - middle is wrong.
        if binomial_tail(n - right, n, 1.0 - middle) < 1.0 - level:
            low = middle
        else:
            high = middle
    return low


def interval(right: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the two-sided Clopper-Pearson interval of a share."""
    one_sided = 1.0 - (1.0 - level) / 2
    return lower_bound(right, n, one_sided), 1.0 - lower_bound(n - right, n, one_sided)


def rows_needed(target: float, share: float, level: float) -> int | None:
    """Estimate how many rows, of which ``share`` are right, bring the lower bound to ``target``.

    By the normal approximation, and at least as many as it takes without a wrong row. None if the share does
    not exceed the target, or if more than a million rows are needed.
    """
    if share <= target:
        return None
    spread = NormalDist().inv_cdf(level) ** 2 * target * (1.0 - target) / (share - target) ** 2
    rows = ceil(max(log(1.0 - level) / log(target), spread if share < 1.0 else 0.0))
    return rows if rows <= MOST_ROWS else None


@cache
def _log_factorials(size: int) -> NDArray[np.float64]:
    import numpy as np

    return np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, size + 1)))))


def _choose(n: int, k: NDArray[np.int64]) -> NDArray[np.float64]:
    """The logarithm of the binomial coefficients."""
    size = 1024
    while size < n:
        size *= 2
    table = _log_factorials(size)
    found: NDArray[np.float64] = table[n] - table[k] - table[n - k]
    return found
