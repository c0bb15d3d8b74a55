"""Agreement of several judges on the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def mean_difference(scores: NDArray[np.float64]) -> float | None:
    """Mean absolute difference of two judges' scores of one row, over all pairs of judges and all rows.

    ``scores``: ``(rows, judges)``. None if there are fewer than two judges or no rows.
    """
    import numpy as np

    rows, judges = scores.shape
    if rows == 0 or judges < 2:
        return None
    first, second = np.triu_indices(judges, 1)
    return float(np.abs(scores[:, first] - scores[:, second]).mean())


def krippendorff_alpha(scores: NDArray[np.float64]) -> float | None:
    """Krippendorff's alpha for interval data: 1 minus observed over expected disagreement.

    ``scores``: ``(rows, judges)``, without missing values. 1 is perfect agreement, 0 is that of scores
    assigned by chance; it is negative for systematic disagreement. None if it is undefined: fewer than two
    judges, or all scores equal. Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011.
    """
    import numpy as np

    rows, judges = scores.shape
    if rows == 0 or judges < 2:
        return None
    # The mean squared difference of a pair drawn from n values is 2 n / (n - 1) times their variance.
    observed = float(np.mean(2 * judges / (judges - 1) * scores.var(axis=1)))
    total = scores.size
    expected = 2 * total / (total - 1) * float(scores.var())
    return None if expected == 0 else 1 - observed / expected
