"""Rows to a Parquet file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ...contracts.context import Context
from ...contracts.operators import Written
from ...contracts.stored_rows import StoredRows
from .export import Export
from .features import tell_turns, tell_unreadable
from .layout import Layout
from .placing import place_file

if TYPE_CHECKING:
    import pyarrow as pa

_GROUP_ROWS = 65_536


class ParquetExport(Export):
    """Writes a Parquet file: to ``path`` if it ends with ``.parquet``, else to ``data.parquet`` in it.

    Example:
        table: {export: parquet, from: chosen}
    """

    endings: ClassVar[tuple[str, ...]] = (".parquet",)

    def export(self, rows: StoredRows, context: Context, default: Path) -> Written:
        layout = self.layout(rows)
        tell_turns(layout.own)

        def write(path: Path) -> None:
            rows.write(partial(_write, layout), [path], layout.reads(rows.column_names))

        return place_file(self.place(), default, self.endings[0], rows.num_rows, write)


def _write(layout: Layout, tables: Iterator[pa.Table], path: Path) -> None:
    write_parquet(layout, tables, path, tell_unreadable)


def write_parquet(
    layout: Layout, tables: Iterator[pa.Table], path: Path, check: Callable[[pa.Schema], None]
) -> None:
    """Write one file, whose schema is checked first. Equal rows give equal bytes."""
    import pyarrow.parquet as pq

    writer: pq.ParquetWriter | None = None
    try:
        for table in map(layout.of_table, tables):
            if writer is None:
                check(table.schema)
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table, row_group_size=_GROUP_ROWS)
    finally:
        if writer is not None:
            writer.close()
