"""``select: best_group``: keep the rows of the group that scores best on average."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ...contracts.operators import Context, TableResult, WholeTable
from ..columns import number_column
from .groups import group_labels, plain_values

if TYPE_CHECKING:
    import pyarrow as pa

_WHO = "select: best_group"


class SelectBestGroup(WholeTable):
    """Keeps the rows of the group with the highest mean score: for example, the best teacher's answers.

    Rows without a number do not count for the mean, and stay with their group. Of equals, the first group
    wins. The summary lists every group.

    Filters:
        not_best_group: another group has a higher mean; the score is the group's mean.

    Example:
        teacher: {select: best_group, group: [model], by: compatible_reward, from: scored}
    """

    group: Annotated[tuple[str, ...], Field(min_length=1)]
    """Columns whose equal values make a group."""
    by: str
    """Column with the score, a number; higher is better."""

    def uses_columns(self) -> Iterable[str]:
        return (*self.group, self.by)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns

    def apply(self, table: pa.Table, context: Context) -> TableResult:
        """Judge all rows. Raises DataError if a column is missing or of the wrong type."""
        import numpy as np

        labels = group_labels(table, self.group, _WHO)
        values = number_column(table, self.by, _WHO)
        known = np.isfinite(values)
        rows = np.bincount(labels[known], minlength=int(labels.max()) + 1)
        sums = np.bincount(labels[known], weights=values[known], minlength=len(rows))
        means = np.divide(sums, rows, out=np.full(len(rows), -np.inf), where=rows > 0)
        best = int(means.argmax())
        firsts = np.unique(labels, return_index=True)[1]
        names = zip(*(plain_values(table.take(firsts), name, _WHO) for name in self.group))
        groups = [
            {**dict(zip(self.group, name)), "rows": int(count), "mean": float(mean) if count else None}
            for name, count, mean in zip(names, rows, means)
        ]
        return TableResult(
            kept=labels == best,
            rule="not_best_group",
            score=np.where(np.isfinite(means), means, np.nan)[labels],
            summary={"groups": groups},
        )
