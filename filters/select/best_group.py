"""``select: best_group``: keep the rows of the group that scores best on average."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ...contracts.context import Context
from ...contracts.errors import DataError
from ...contracts.operators import WholeTable
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows
from ..columns import without_nan
from ..stored_columns import numbers, rows_at
from .groups import group_labels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WHO = "select: best_group"


class SelectBestGroup(WholeTable):
    """Keeps the rows of the group with the highest mean score: for example, the best teacher's answers.

    Rows without a number do not count for the mean, and stay with their group. Of equals, the first group
    wins. The summary lists every group. With the reward of an answer as `by` and the loss of the model to be
    trained as `penalty`, this is the compatibility-adjusted reward of a teacher, CAR = mean(by) / (1 +
    penalty_weight * mean(penalty)) (Xu et al., arXiv 2411.07133).

    Filters:
        not_best_group: another group has a higher value; the score is the group's value.

    Example:
        teacher: {select: best_group, group: [model], by: compatible_reward, from: scored}
    """

    group: Annotated[tuple[str, ...], Field(min_length=1)]
    """Columns whose equal values make a group."""
    by: str
    """Column with the score, a number; higher is better. With `penalty`, its means must not be negative."""
    penalty: str | None = None
    """Column whose mean lowers the group's value, such as the loss of the model to be trained."""
    penalty_weight: Annotated[float, Field(ge=0)] = 3.0
    """Weight of the mean of `penalty`; 3 is that of CAR."""

    def uses_columns(self) -> Iterable[str]:
        return (*self.group, self.by, *([] if self.penalty is None else [self.penalty]))

    def uses_numbers(self) -> Iterable[str]:
        return (self.by, *([] if self.penalty is None else [self.penalty]))

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Judge all rows. Raises DataError if a column is missing or of the wrong type."""
        import numpy as np

        labels = group_labels(rows, self.group, _WHO)
        if not len(labels):
            return TableResult(summary={"groups": []})
        means = _means(labels, numbers(rows, self.by, _WHO))
        if self.penalty is not None:
            penalties = _means(labels, numbers(rows, self.penalty, _WHO))
            self._check_signs(means, penalties)
            means = means / (1 + self.penalty_weight * penalties)
        values = np.where(np.isnan(means), -np.inf, means)
        firsts = np.unique(labels, return_index=True)[1]
        named = rows_at(rows, firsts, self.group)
        names = without_nan(named.select(self.group)).to_pylist()
        groups = [
            {
                **name,
                "rows": int(count),
                "value": None if np.isnan(mean) else float(mean),
            }
            for name, count, mean in zip(names, np.bincount(labels), means)
        ]
        return TableResult(
            kept=labels == int(values.argmax()),
            rule="not_best_group",
            score=means[labels],
            summary={"groups": groups},
        )

    def _check_signs(self, means: NDArray[np.float64], penalties: NDArray[np.float64]) -> None:
        """Raise DataError if a mean is negative: a higher penalty would then raise the value."""
        import numpy as np

        for name, found in ((self.by, means), (str(self.penalty), penalties)):
            if (found < 0).any():
                raise DataError(
                    f"{_WHO} with a penalty needs means that are not negative; a group's mean of '{name}' is "
                    f"{np.nanmin(found):.4g}. Rescale it with `compute`, for example 1 / (1 + exp(-{name}))"
                )


def _means(labels: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the numbers of each group; NaN without any."""
    import numpy as np

    known = np.isfinite(values)
    rows = np.bincount(labels[known], minlength=int(labels.max()) + 1)
    sums = np.bincount(labels[known], weights=values[known], minlength=len(rows))
    means: NDArray[np.float64] = np.divide(sums, rows, out=np.full(len(rows), np.nan), where=rows > 0)
    return means
