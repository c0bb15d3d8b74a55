"""``select: longest``: choose the longest rows, as a baseline for other selection methods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import Field, PositiveInt

from ...contracts.context import Context
from ...contracts.operators import Estimate, WholeTable
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows
from ..stored_columns import text_lengths

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

    def uses_text(self) -> Iterable[str]:
        return self.columns

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Judge all rows. Raises DataError if a column is missing or not text."""
        import numpy as np

        lengths = text_lengths(rows, self.columns, _WHO)
        kept = np.zeros(rows.num_rows, dtype=bool)
        kept[np.argsort(-lengths, kind="stable")[: self.rows]] = True
        return TableResult(
            kept=kept,
            rule="not_longest",
            score=lengths,
            summary={"shortest_chosen": int(lengths[kept].min()) if kept.any() else None},
        )
