"""The paired bootstrap: an interval for the difference of two models on the same items."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Resampled indices held at once: bounds the memory at 32 MiB.
_CHUNK = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Gain:
    """The mean of the paired differences, with its bootstrap interval.

    ``ci_low``, ``ci_high``: the percentile interval at ``confidence``. ``p_two_sided``: twice the
    smaller share of resampled means on the other side of zero (at most 1). ``n``: items.
    """

    mean: float
    ci_low: float
    ci_high: float
    p_two_sided: float
    n: int
    confidence: float
    resamples: int

    @property
    def decided(self) -> bool:
        """False if the interval contains zero: the decision is then to abstain."""
        return self.ci_low > 0 or self.ci_high < 0

    def figures(self) -> dict[str, float | int]:
        return asdict(self)


def paired_bootstrap(
    scores: NDArray[np.float64],
    against: NDArray[np.float64],
    *,
    seed: int,
    confidence: float = 0.95,
    resamples: int = 10_000,
) -> Gain:
    """Bootstrap the mean of ``scores - against`` by resampling the items with replacement.

    ``scores`` and ``against``: float64, shape ``(items,)``, the same items in the same order. The
    difference is computed per item before resampling, so the difficulty that an item has for both
    models cancels. Percentile interval of Efron (1979, "Bootstrap methods: another look at the
    jackknife"); paired resampling of a test set as Koehn (2004, "Statistical significance tests for
    machine translation evaluation"). The same seed gives the same figures.

    Raises ValueError on no items, on shapes that differ, on values that are not finite, and on a
    confidence outside (0, 1).
    """
    import numpy as np

    scores, against = np.asarray(scores, dtype=np.float64), np.asarray(against, dtype=np.float64)
    if scores.ndim != 1 or scores.shape != against.shape or scores.size == 0:
        raise ValueError(
            f"need two equally long lists of scores, found shapes {scores.shape} and {against.shape}"
        )
    if not (np.isfinite(scores).all() and np.isfinite(against).all()):
        raise ValueError("scores must be finite")
    if not 0 < confidence < 1 or resamples < 1:
        raise ValueError(f"need 0 < confidence < 1 and resamples >= 1, found {confidence} and {resamples}")
    differences = scores - against
    items = differences.size
    rng = np.random.default_rng(seed)
    at_once = max(1, _CHUNK // items)
    means = np.concatenate(
        [
            differences[rng.integers(0, items, size=(min(at_once, resamples - start), items))].mean(axis=1)
            for start in range(0, resamples, at_once)
        ]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    # A p-value of exactly zero would claim more than the resamples can show.
    beyond = min(float((means <= 0).mean()), float((means >= 0).mean()))
    p = min(1.0, 2 * max(beyond, 1 / (resamples + 1)))
    return Gain(float(differences.mean()), float(low), float(high), p, items, confidence, resamples)
