"""Rows to a Hugging Face ``datasets`` directory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from ...contracts.context import Context
from ...contracts.errors import DataError
from ...contracts.mistakes import at
from ...contracts.operators import Written
from ...contracts.stored_rows import StoredRows
from .card import data_card
from .export import FILE_ROWS, Export, file_names
from .features import refuse_unreadable, tell_turns
from .layout import Layout
from .placing import place_directory

if TYPE_CHECKING:
    import pyarrow as pa

_FILE = "data-{number:05d}-of-{count:05d}.arrow"
_BLOCK = 1 << 20
#: Rows of a record batch: the library reads them one by one.
_CHUNK_ROWS = 1000


class ArrowExport(Export):
    """Writes a directory that ``datasets.load_from_disk`` reads, with a data card (README.md).

    Example:
        folder: {export: arrow, from: chosen, title: Tiny instructions, license: apache-2.0}
    """

    title: str | None = None
    """Title of the data card. By default the step's name."""
    license: str | None = None
    """License of the data, as an SPDX name, for the data card."""

    def markers(self) -> Sequence[str]:
        return ("dataset_info.json", "state.json")

    def inspect(self) -> None:
        if self.path is not None and "://" in self.path:
            with at("path"):
                raise DataError(
                    f"{self.path}: `export: arrow` writes local directories; for a URL use "
                    "`export: parquet`, for the Hugging Face Hub `export: hub`"
                )
        super().inspect()

    def export(self, rows: StoredRows, context: Context, default: Path) -> Written:
        self.inspect()
        layout = self.layout(rows)
        tell_turns(layout.own)
        place = default if self.path is None else Path(self.place() or "")
        card = data_card(
            layout.tables(rows),
            context,
            title=self.title or context.step,
            form=self.format,
            licence=self.license,
        )

        def write(folder: Path) -> None:
            files = [folder / name for name in file_names(rows.num_rows, _FILE)]
            names = layout.reads(rows.column_names)
            rows.write(partial(_write_file, layout), files, names, file_rows=FILE_ROWS)
            _describe(folder, files)
            (folder / "README.md").write_text(card, encoding="utf-8")

        names = place_directory(place, self.markers(), write, ours=self.path is None)
        return Written(location=str(place), files=names, rows=rows.num_rows)


def _write_file(layout: Layout, tables: Iterator[pa.Table], path: Path) -> None:
    """Write one file of a data set, as the library writes them: a stream that names the features."""
    import pyarrow as pa
    from datasets import Features

    first = layout.of_table(next(tables))
    refuse_unreadable(first.schema)
    schema = Features.from_arrow_schema(first.schema).arrow_schema
    with pa.ipc.new_stream(str(path), schema) as out:
        out.write_table(first.cast(schema), max_chunksize=_CHUNK_ROWS)
        for table in map(layout.of_table, tables):
            out.write_table(table.cast(schema), max_chunksize=_CHUNK_ROWS)


def _describe(folder: Path, files: list[Path]) -> None:
    """Write the library's own description of a data set that has these files."""
    import datasets
    import pyarrow as pa
    from datasets.table import InMemoryTable
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

    with pa.ipc.open_stream(str(files[0])) as stream:
        schema = stream.schema
    shown = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        datasets.Dataset(InMemoryTable(schema.empty_table())).save_to_disk(str(folder))
    finally:
        if shown:
            enable_progress_bar()
    state = folder / "state.json"
    names = [{"filename": file.name} for file in files]
    # The library's fingerprint is random; equal rows must give equal bytes.
    said = {**json.loads(state.read_text()), "_data_files": names, "_fingerprint": _fingerprint(files)}
    state.write_text(json.dumps(said, indent=2, sort_keys=True))


def _fingerprint(files: list[Path]) -> str:
    whole = blake2b(digest_size=8)
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                whole.update(block)
    return whole.hexdigest()
