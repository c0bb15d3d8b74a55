"""Choose one of several equal parts of the rows, by their places."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, model_validator

from ...contracts.context import Context
from ...contracts.operators import Estimate, WholeTable
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows


class SelectPart(WholeTable):
    """Keeps every n-th row: one of `of` parts that have no row in common and together all rows.

    The parts are interleaved, so that each has its share of rows that stand together, as in a sorted file.

    Filters:
        part: the row is in another part; the score is the number of that part.

    Example:
        first_half: {select: part, part: 1, of: 2, from: items}
    """

    part: int = Field(ge=1)
    """Number of the part to keep, from 1."""
    of: int = Field(ge=1)
    """Number of parts."""

    @model_validator(mode="after")
    def _exists(self) -> SelectPart:
        if self.part > self.of:
            raise ValueError(f"there is no part {self.part} of {self.of}")
        return self

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=(rows + self.of - self.part) // self.of)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        import numpy as np

        parts = np.arange(rows.num_rows) % self.of + 1
        return TableResult(kept=parts == self.part, rule="part", score=parts.astype(np.float64))
