"""The lowest confidence whose rows are right with a wanted precision, with a guarantee."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .bounds import binomial_tail, hypergeometric_tail, lower_bound, rows_needed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Most cutoffs that are tried.
GRID = 200
#: Fewest held-out rows from whose share the number of labels is estimated.
FEWEST = 20


@dataclass(frozen=True, slots=True)
class Evidence:
    """Confidences and labels: of the rows to fit on, of the held-out rows, and of rows without a label.

    Confidences: float64; labels: bool of the same length.
    """

    fitted: NDArray[np.float64]
    fitted_right: NDArray[np.bool_]
    held_out: NDArray[np.float64]
    held_out_right: NDArray[np.bool_]
    unlabelled: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cutoff:
    """A confidence, with the held-out rows at or above it: how many, and how many of them are right."""

    confidence: float
    rows: int
    right: int

    @property
    def precision(self) -> float:
        return self.right / self.rows if self.rows else 0.0


def find_cutoff(evidence: Evidence, target: float, level: float) -> Cutoff | None:
    """Return the lowest cutoff that is shown to have at least the precision ``target``; None if none is.

    With the probability ``level`` the rows at or above it are right with that precision: rows like the
    held-out ones in general, and the unlabelled rows at hand. The cutoffs are tested from a high one down,
    and the first that fails ends the search. So the guarantee holds after the choice (fixed sequence testing
    in Learn then Test, Angelopoulos et al., arXiv 2110.01052). Each test is exact: binomial for the rows in
    general, hypergeometric for the rows at hand. The rows that the calibrator was fitted on choose where
    to start; the cutoffs themselves depend on no label.
    """
    grid = cutoffs(evidence)
    if not grid:
        return None
    chance = [
        binomial_tail(each.rows - each.right, each.rows, 1.0 - target)
        for each in (_counted(cutoff, evidence.fitted, evidence.fitted_right) for cutoff in grid)
    ]
    found = None
    for cutoff in grid[chance.index(min(chance)) :]:
        tested = _counted(cutoff, evidence.held_out, evidence.held_out_right)
        unlabelled = int((evidence.unlabelled >= cutoff).sum())
        if not _shown(tested, unlabelled, target, 1.0 - level):
            break
        found = tested
    return found


def best_cutoff(evidence: Evidence, level: float) -> Cutoff:
    """Return the cutoff with the highest lower bound of the precision on the held-out rows."""
    tested = [_counted(each, evidence.held_out, evidence.held_out_right) for each in cutoffs(evidence)]
    return max(tested, key=lambda each: lower_bound(each.right, each.rows, level))


def labels_needed(evidence: Evidence, target: float, level: float) -> int | None:
    """Estimate how many labels would show the precision: the fewest over all cutoffs, at the shares that the
    held-out rows have. None if no cutoff exceeds the target.
    """
    labels = len(evidence.held_out) + len(evidence.fitted)
    needed = []
    for cutoff in cutoffs(evidence):
        tested = _counted(cutoff, evidence.held_out, evidence.held_out_right)
        enough = tested.rows >= FEWEST and tested.precision > target
        rows = rows_needed(target, tested.precision, level) if enough else None
        if rows is not None:
            needed.append(-(-rows * labels // tested.rows))
    return min(needed, default=None)


def cutoffs(evidence: Evidence) -> list[float]:
    """Return the cutoffs to try, from the highest down: values of the rows that were not fitted on."""
    import numpy as np

    values = np.unique(np.concatenate((evidence.held_out, evidence.unlabelled)))
    if len(values) > GRID:
        every = np.concatenate((evidence.held_out, evidence.unlabelled))
        values = np.unique(np.quantile(every, np.linspace(0.0, 1.0, GRID), method="lower"))
    found: list[float] = values[::-1].tolist()
    return found


def _counted(cutoff: float, confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> Cutoff:
    above = confidence >= cutoff
    return Cutoff(cutoff, int(above.sum()), int(right[above].sum()))


def _shown(tested: Cutoff, unlabelled: int, target: float, risk: float) -> bool:
    """Do the held-out rows rule out a precision below ``target``, in general and of the unlabelled rows?"""
    wrong = tested.rows - tested.right
    if binomial_tail(wrong, tested.rows, 1.0 - target) > risk:
        return False
    too_many = int((1.0 - target) * unlabelled + 1e-9) + 1
    if too_many > unlabelled:
        return True
    together = tested.rows + unlabelled
    return hypergeometric_tail(wrong, tested.rows, wrong + too_many, together) <= risk
