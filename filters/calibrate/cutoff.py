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

#: Numbers of draws, and how few wrong ones of them are too many.
AtHand = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Confidences and labels: of the rows to fit on, of the held-out rows, and of rows without a label.

    Confidences: float64; labels: bool of the same length. ``groups``: int64, the number of each unlabelled
    row's group; None if all rows are independent.
    """

    fitted: NDArray[np.float64]
    fitted_right: NDArray[np.bool_]
    held_out: NDArray[np.float64]
    held_out_right: NDArray[np.bool_]
    unlabelled: NDArray[np.float64]
    groups: NDArray[np.int64] | None = None

    def at_hand(self, cutoff: float, target: float) -> AtHand:
        """Return how many draws the unlabelled rows at or above the cutoff are, and how few wrong ones make
        their precision less than ``target``: for each size of their groups.

        Each group may be right or wrong as a whole. Of size s there are as many draws as groups, but not more
        than would make up the rows. A row without a group is one of its own.
        """
        import numpy as np

        above = self.unlabelled >= cutoff
        rows = int(above.sum())
        too_many = int((1.0 - target) * rows + 1e-9) + 1
        if self.groups is None or not rows:
            return [(rows, too_many)]
        sizes = np.bincount(self.groups[above])
        count = int((sizes > 0).sum())
        return [(min(count, rows // s), -(-too_many // s)) for s in np.unique(sizes[sizes > 0]).tolist()]


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
    in Learn then Test, Angelopoulos et al., arXiv 2110.01052). Each test is exact for independent rows:
    binomial for the rows in general, hypergeometric for the rows at hand. Of groups, the first is exact if
    the held-out rows are of different ones, each drawn in proportion to its size, and the second is that of
    groups that are right or wrong as a whole, of each size that they have. Where to start depends on the rows
    that the calibrator was fitted on, the cutoffs themselves on no label.
    """
    grid = cutoffs(evidence)
    at_hand = [evidence.at_hand(each, target) for each in grid]
    tested = [_counted(each, evidence.held_out, evidence.held_out_right) for each in grid]
    learned = [_counted(each, evidence.fitted, evidence.fitted_right) for each in grid]
    chance = []
    most = -1
    for each, groups, shares in zip(tested, at_hand, learned, strict=True):
        most = most_wrong(each.rows, groups, target, 1.0 - level, near=most)
        chance.append(_chance(each.rows, most, shares))
    if not any(chance):
        return None
    found = None
    for start in range(chance.index(max(chance)), len(grid)):
        rows, wrong = tested[start].rows, tested[start].rows - tested[start].right
        if not _shown(rows, wrong, at_hand[start], target, 1.0 - level):
            break
        found = tested[start]
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


def _chance(rows: int, most: int, learned: Cutoff) -> float:
    """Return the probability that at most ``most`` of ``rows`` held-out rows at a cutoff are wrong, if they
    are right with the share of ``learned``; 0 if ``most`` is negative.

    A start at the strictest cutoff would fail with its first wrong row; one at the best cutoff of the fitted
    rows may have too few held-out rows. Laplace's rule of succession smooths the share.
    """
    if most < 0:
        return 0.0
    return binomial_tail(most, rows, (learned.rows - learned.right + 1) / (learned.rows + 2))


def most_wrong(rows: int, at_hand: AtHand, target: float, risk: float, *, near: int) -> int:
    """Return how many of ``rows`` held-out rows may be wrong if they are to show the precision; -1 if they do
    not even if all are right. ``at_hand``: of :meth:`Evidence.at_hand`. ``near``: where the search begins, as
    at the cutoff before.
    """

    def passes(wrong: int) -> bool:
        return wrong < 0 or (wrong <= rows and _shown(rows, wrong, at_hand, target, risk))

    step = 1
    if passes(near):
        most, too_many = near, near + 1
        while passes(too_many):
            step *= 2
            most, too_many = too_many, too_many + step
    else:
        most, too_many = near - 1, near
        while not passes(most):
            step *= 2
            most, too_many = most - step, most
    while too_many - most > 1:
        wrong = (most + too_many) // 2
        if passes(wrong):
            most = wrong
        else:
            too_many = wrong
    return max(most, -1)


def _shown(rows: int, wrong: int, at_hand: AtHand, target: float, risk: float) -> bool:
    """Do ``rows`` held-out rows, ``wrong`` of them wrong, rule out a precision below ``target``, in general
    and of the unlabelled rows?
    """
    if binomial_tail(wrong, rows, 1.0 - target) > risk:
        return False
    return all(
        too_many > draws or hypergeometric_tail(wrong, rows, wrong + too_many, rows + draws) <= risk
        for draws, too_many in at_hand
    )
