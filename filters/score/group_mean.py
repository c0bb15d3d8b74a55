"""``score: group_mean``: what the rows of a group have on average."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import Field

from ...contracts.context import Context
from ...contracts.operators import WholeTable
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows
from ..select.groups import group_labels
from ..stored_columns import numbers

_WHO = "score: group_mean"


class GroupMean(WholeTable):
    """Gives each row the mean of a number over the rows of its group, such as the rows of a cluster.

    Every row of the group gets the same values. Rows without a number do not count.

    Adds:
        group_mean (float64): mean of `by` over the rows of the group; null if none has a number.
        group_rows (int64): rows of the group that have a number.

    Example:
        weighed: {score: group_mean, by: gain, group: [cluster], from: measured}
    """

    by: str
    """Column to average, numbers or booleans. Null and NaN are left out."""
    group: tuple[str, ...]
    """Columns whose equal values make a group. `[]` makes one group of all rows."""
    prefix: str = Field(default="", pattern=r"^([a-zA-Z]\w*)?$")
    """Beginning of the names of the added columns, such as `gain_`."""

    def uses_columns(self) -> Iterable[str]:
        return (*self.group, self.by)

    def uses_numbers(self) -> Iterable[str]:
        return (self.by,)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        if columns is None:
            return None
        return list(dict.fromkeys([*columns, f"{self.prefix}group_mean", f"{self.prefix}group_rows"]))

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Average the groups. Raises DataError if a column is missing or of the wrong type."""
        import numpy as np
        import pyarrow as pa

        labels = group_labels(rows, self.group, _WHO)
        values = numbers(rows, self.by, _WHO)
        known = ~np.isneginf(values)
        groups = int(labels.max()) + 1 if len(labels) else 0
        sums = np.bincount(labels[known], values[known], groups)
        counts = np.bincount(labels[known], minlength=groups)
        means = np.divide(sums, counts, out=np.full(groups, np.nan), where=counts > 0)
        found = means[labels]
        return TableResult(
            columns={
                f"{self.prefix}group_mean": pa.array(found, mask=np.isnan(found)),
                f"{self.prefix}group_rows": pa.array(counts[labels], pa.int64()),
            },
            summary={"groups": groups, "rows_without_a_number": int((~known).sum())},
        )
