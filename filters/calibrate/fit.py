"""From scores to a probability: logistic regression, and isotonic regression over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Method = Literal["auto", "isotonic", "platt"]
#: `auto` fits by isotonic regression from this many labels, and by Platt's method below.
ISOTONIC_FROM = 1000


@dataclass(frozen=True, slots=True)
class Calibrator:
    """A fitted map from scores to the probability of being right.

    ``mean``, ``scale``, ``weights``: float64 ``(scores,)``; the linear predictor is ``intercept`` plus the
    standardized scores times the weights. ``knots`` and ``levels``: float64 ``(knots,)``, the isotonic
    function of the predictor, linear between the knots; None for the logistic function.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    intercept: float
    knots: NDArray[np.float64] | None = None
    levels: NDArray[np.float64] | None = None

    def confidence(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability of each row being right, float64 ``(rows,)``.

        ``scores``: float64 ``(rows, scores)``, finite.
        """
        import numpy as np

        predictor = self._predictor(scores)
        if self.knots is not None and self.levels is not None:
            return np.interp(predictor, self.knots, self.levels)
        return _logistic(predictor)

    def _predictor(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        import numpy as np

        found = np.full(len(scores), self.intercept)
        # Score by score: a matrix product may round differently for other numbers of rows.
        for column, weight in enumerate(self.weights.tolist()):
            found += (scores[:, column] - self.mean[column]) / self.scale[column] * weight
        return found


def resolved(method: Method, labels: int) -> Literal["isotonic", "platt"]:
    """Return the method that ``auto`` stands for, given the number of labels to fit on."""
    if method != "auto":
        return method
    return "isotonic" if labels >= ISOTONIC_FROM else "platt"


def fit(
    scores: NDArray[np.float64], right: NDArray[np.bool_], method: Literal["isotonic", "platt"]
) -> Calibrator:
    """Fit a calibrator.

    ``scores``: float64 ``(rows, scores)``, finite. ``right``: bool ``(rows,)``. ``platt``: the logistic
    function of Platt (1999), with his smoothed targets, so that separable labels have a finite solution.
    ``isotonic``: isotonic regression (Zadrozny and Elkan, 2002) over its linear predictor; with one score
    this is isotonic regression over the score, in the direction that the labels show.
    """
    import numpy as np
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    mean, scale = scores.mean(axis=0), scores.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    standard = (scores - mean) / scale
    yes, no = int(right.sum()), int((~right).sum())
    target = np.where(right, (yes + 1) / (yes + 2), 1 / (no + 2))
    # A row with the target t counts t times as right and 1 - t times as wrong.
    with threadpool_limits(1):
        model = LogisticRegression(C=1e6, max_iter=1000).fit(
            np.concatenate((standard, standard)),
            np.repeat([True, False], len(right)),
            sample_weight=np.concatenate((target, 1.0 - target)),
        )
    found = Calibrator(mean, scale, model.coef_[0].astype(np.float64), float(model.intercept_[0]))
    if method == "platt":
        return found
    steps = IsotonicRegression(y_min=0.0, y_max=1.0).fit(found._predictor(scores), right.astype(np.float64))
    return Calibrator(mean, scale, found.weights, found.intercept, steps.X_thresholds_, steps.y_thresholds_)


def cross_fitted(
    scores: NDArray[np.float64],
    right: NDArray[np.bool_],
    fold: NDArray[np.int64],
    method: Literal["isotonic", "platt"],
) -> NDArray[np.float64]:
    """Return the confidence of each row by a calibrator that was fitted without the row's fold."""
    import numpy as np

    found = np.empty(len(right))
    for each in np.unique(fold).tolist():
        mine = fold == each
        found[mine] = fit(scores[~mine], right[~mine], method).confidence(scores[mine])
    return found


def _logistic(predictor: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    small = np.exp(-np.abs(predictor))
    return np.where(predictor >= 0, 1.0 / (1.0 + small), small / (1.0 + small))
