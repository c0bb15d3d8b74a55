"""Rows to a Hugging Face ``datasets`` directory."""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from ...contracts.errors import DataError
from ...contracts.operators import Written
from .card import data_card
from .export import Export
from .placing import place_directory

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.operators import Context


class ArrowExport(Export):
    """Writes a directory that ``datasets.load_from_disk`` reads, with a data card (README.md).

    Example:
        folder: {export: arrow, from: chosen, title: Tiny instructions, license: apache-2.0}
    """

    title: str | None = None
    """Title of the data card. By default the step's name."""
    license: str | None = None
    """License of the data, as an SPDX name, for the data card."""

    def write(self, table: pa.Table, context: Context, default: Path) -> Written:
        if self.path is not None and "://" in self.path:
            raise DataError(
                f"{self.path}: `export: arrow` writes local directories; for a URL use `export: parquet`, "
                "for the Hugging Face Hub `export: hub`"
            )
        ready = self.prepared(table)
        place = default if self.path is None else Path(self.path)
        card = data_card(
            ready, context, title=self.title or context.step, form=self.format, licence=self.license
        )

        def write(folder: Path) -> None:
            _save(ready, folder)
            (folder / "README.md").write_text(card, encoding="utf-8")

        names = place_directory(place, ("dataset_info.json", "state.json"), write, ours=self.path is None)
        return Written(location=str(place), files=names, rows=ready.num_rows)


def _save(table: pa.Table, folder: Path) -> None:
    import datasets
    from datasets.table import InMemoryTable
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

    # The library's fingerprint is random; equal rows must give equal bytes.
    fingerprint = blake2b(str(table.schema).encode(), digest_size=8)
    for batch in table.to_batches():
        fingerprint.update(batch.serialize())
    shown = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        dataset = datasets.Dataset(InMemoryTable(table), fingerprint=fingerprint.hexdigest())
        dataset.save_to_disk(str(folder))
    finally:
        if shown:
            enable_progress_bar()
    if not table.num_rows:
        _save_columns(table, folder)


def _save_columns(table: pa.Table, folder: Path) -> None:
    """Write a file without rows: the library writes none for an empty data set, and then cannot load it."""
    import pyarrow as pa

    name = "data-00000-of-00001.arrow"
    with pa.ipc.new_stream(str(folder / name), table.schema) as out:
        out.write_table(table)
    state = folder / "state.json"
    told = {**json.loads(state.read_text()), "_data_files": [{"filename": name}]}
    state.write_text(json.dumps(told, indent=2, sort_keys=True))
