"""``select: longest``: choose the longest rows, as a baseline for other selection methods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from ...contracts.operators import Context, Estimate, WholeTable
from ...contracts.outcomes import TableResult
from ..columns import text_column

if TYPE_CHECKING:
    import pyarrow as pa

_WHO = "select: longest"


class SelectLongest(WholeTable):
    """Keeps the rows with the longest texts: with random rows, the baseline for other selection methods.

    The longest responses are a choice that is hard to beat (Zhao et al., arXiv 2402.04833). Ties go to the
    earlier row. A null counts as an empty text.

    Filters:
        not_longest: other rows are longer; the score is the row's length in characters.

    Example:
        longest: {select: longest, rows: 1000, from: clean}
    """

    rows: PositiveInt
    """Rows to keep. All rows are kept if there are fewer."""
    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("response",)
    """Columns whose lengths are added up."""

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=min(rows, self.rows))

    def uses_columns(self) -> Iterable[str]:
        return self.columns

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns

    def apply(self, table: pa.Table, context: Context) -> TableResult:
        """Judge all rows. Raises DataError if a column is missing or not text."""
        import numpy as np
        import pyarrow.compute as pc

        lengths = np.zeros(table.num_rows)
        for name in self.columns:
            lengths += pc.fill_null(pc.utf8_length(text_column(table, name, _WHO)), 0).to_numpy()
        kept = np.zeros(table.num_rows, dtype=bool)
        kept[np.argsort(-lengths, kind="stable")[: self.rows]] = True
        return TableResult(
            kept=kept,
            rule="not_longest",
            score=lengths,
            summary={"shortest_chosen": int(lengths[kept].min()) if kept.any() else None},
        )
