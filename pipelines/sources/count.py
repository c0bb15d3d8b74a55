"""Numbered rows, for a pipeline without seeds (for example if a model writes its own prompts)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import PositiveInt

from ...contracts.context import Context
from ...contracts.operators import Estimate, Source

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 65_536


class Count(Source):
    """Makes numbered rows, for a pipeline without seeds.

    Adds:
        number (int64): number of the row, from 0.

    Example:
        slots: {source: count, rows: 1000}
    """

    rows: PositiveInt
    """Rows to make."""

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=self.rows)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return ("number",)

    def makes_types(self, types: Mapping[str, pa.DataType]) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {"number": pa.int64()}

    def read(self, context: Context) -> Iterator[pa.RecordBatch]:
        import numpy as np
        import pyarrow as pa

        for start in range(0, self.rows, _BATCH_ROWS):
            context.check()
            numbers = np.arange(start, min(start + _BATCH_ROWS, self.rows), dtype=np.int64)
            yield pa.RecordBatch.from_pydict({"number": numbers})
