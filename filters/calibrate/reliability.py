"""How far probabilities can be believed: reliability curve, ECE, Brier score and AUC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .bounds import interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BINS = 10


def reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> dict[str, Any]:
    """Return figures of probabilities on rows that were not fitted on.

    ``confidence``: float64 ``(rows,)`` in [0, 1]. ``right``: bool ``(rows,)``. ``bins``: ten bins of equal
    width, without empty ones: rows, mean confidence, share right and its 95 % Clopper-Pearson interval.
    ``ece``: the expected calibration error over these bins (Guo et al., 2017). ``brier``: the mean squared
    difference (Brier, 1950). ``auc``: the probability that a right row has the higher confidence; None if all
    rows are of one kind.
    """
    import numpy as np

    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    bins = []
    error = 0.0
    for each in np.unique(place).tolist():
        mine = place == each
        rows, good, mean = int(mine.sum()), int(right[mine].sum()), float(confidence[mine].mean())
        low, high = interval(good, rows)
        error += abs(good / rows - mean) * rows / len(right)
        bins.append({"rows": rows, "confidence": mean, "right": good / rows, "ci_low": low, "ci_high": high})
    return {
        "ece": error,
        "brier": float(np.mean((confidence - right) ** 2)),
        "auc": area_under_curve(confidence, right),
        "bins": bins,
    }


def raw_reliability(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the figures of a score before calibration.

    A score outside [0, 1] is no probability: it is scaled to its smallest and largest value first
    (``scaled: min-max``).
    """
    low, high = float(scores.min()), float(scores.max())
    probability = low >= 0.0 and high <= 1.0
    as_share = scores if probability else (scores - low) / ((high - low) or 1.0)
    figures = reliability(as_share, right)
    return {"scaled": "no" if probability else "min-max", **figures}


def area_under_curve(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> float | None:
    """Return the area under the ROC curve: the share of (right, wrong) pairs in order; ties count half."""
    import numpy as np

    good, bad = np.sort(scores[right]), np.sort(scores[~right])
    if not len(good) or not len(bad):
        return None
    below = np.searchsorted(bad, good, "left") + np.searchsorted(bad, good, "right")
    return float(below.sum() / 2 / (len(good) * len(bad)))
