"""Rows to a Parquet file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...contracts.operators import Written
from .export import Export
from .placing import place_file

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.operators import Context

_GROUP_ROWS = 65_536


class ParquetExport(Export):
    """Writes a Parquet file: to ``path`` if it ends with ``.parquet``, else to ``data.parquet`` in it.

    Example:
        table: {export: parquet, from: chosen}
    """

    def write(self, table: pa.Table, context: Context, default: Path) -> Written:
        ready = self.prepared(table)
        return place_file(self.path, default, ".parquet", ready.num_rows, partial(write_parquet, ready))


def write_parquet(table: pa.Table, path: Path) -> None:
    """The table as one file. Equal tables give equal bytes."""
    import pyarrow.parquet as pq

    pq.write_table(table, path, compression="zstd", row_group_size=_GROUP_ROWS)
