"""Choose the best rows of each group, such as the samples of a prompt that pass most tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import PositiveInt

from ...contracts.context import Context
from ...contracts.operators import Estimate, WholeTable
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows
from ..stored_columns import numbers
from .groups import group_labels

_WHO = "select: best"


class SelectBest(WholeTable):
    """Keeps the best rows of each group, such as the answers to a prompt that pass most tests.

    Ties go to the earlier row.

    Filters:
        not_best: other rows of the group are better; the score is the value of `by`.
        null: the row has no number to rank by.

    Example:
        best: {select: best, by: passed_fraction, rows: 1, from: checked}
    """

    group: tuple[str, ...] = ("prompt",)
    """Columns whose equal values make a group. `[]` makes one group of all rows."""
    by: str
    """Column to rank by, a number; higher is better."""
    rows: PositiveInt = 1
    """Rows to keep per group."""
    ascending: bool = False
    """Keep the lowest values instead of the highest."""

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=rows if self.group else min(rows, self.rows))

    def most_per_group(self) -> tuple[Sequence[str], int] | None:
        return (self.group, self.rows) if self.group else None

    def uses_columns(self) -> Iterable[str]:
        return (*self.group, self.by)

    def uses_numbers(self) -> Iterable[str]:
        return (self.by,)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Judge all rows. Raises DataError if a column is missing or of the wrong type."""
        import numpy as np

        labels = group_labels(rows, self.group, _WHO)
        values = numbers(rows, self.by, _WHO)
        known = ~np.isneginf(values)
        worth = np.where(known, -values if self.ascending else values, -np.inf)
        # By group, then by descending value. lexsort is stable, so ties stay in row order.
        order = np.lexsort((-worth, labels))
        starts = np.searchsorted(labels[order], labels[order])
        kept = np.zeros(rows.num_rows, dtype=bool)
        kept[order] = np.arange(rows.num_rows) - starts < self.rows
        kept &= known
        groups = int(labels.max()) + 1 if len(labels) else 0
        return TableResult(
            kept=kept,
            rule=[None if stays else "not_best" if there else "null" for stays, there in zip(kept, known)],
            score=np.where(known, values, np.nan),
            summary={"groups": groups, "groups_with_a_row": len(np.unique(labels[kept]))},
        )
