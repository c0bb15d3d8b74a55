"""Rows from Hugging Face data sets: a ``save_to_disk`` directory, an Arrow file, or the Hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveInt

from ...contracts.errors import DataError
from ...contracts.layouts import Format, RowReader
from ...contracts.operators import Estimate, Source
from ...contracts.source_pieces import CarryOut, SourcePiece
from .arrow_files import STATE, Batch, checked, common_schema, pieces_of, saved_data_set, values_of
from .column_options import known_types
from .file_pieces import Columns, NoRows, at_least_one, limited, read_in_order
from .locations import File, files
from .turn_texts import Values
from .types import plain

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context

_BATCH_ROWS = 8192
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


class HuggingFaceDataset(Source):
    """Reads a Hugging Face data set: a saved directory, an Arrow file, or one on the Hub.

    The token for a private data set comes from the environment (``HF_TOKEN``). A data set that was downloaded
    once works offline.

    Example:
        public: {source: dataset, path: owner/name, split: train, revision: 1a2b3c}
    """

    path: str
    """Directory that `Dataset.save_to_disk` wrote, an `.arrow` file, or the id of a data set on the Hub."""
    split: str = "train"
    """Split to read, if the data set has several."""
    subset: str | None = None
    """Subset (configuration) of a data set on the Hub. By default its only one."""
    revision: str | None = None
    """Branch, tag or commit on the Hub. By default the main branch."""
    rows: PositiveInt | None = None
    """Maximum number of rows to read. By default all rows are read."""
    rename: dict[str, str] = Field(default_factory=dict)
    """New names for columns, as `{OLD: NEW}`."""
    columns: tuple[str, ...] | None = None
    """Columns to read, by their new names. By default all."""
    format: Format = "auto"
    """Layout of the rows, whose columns become Gristmill's own, as in a file. `as_is` leaves all columns."""

    def content(self) -> Mapping[str, str]:
        folder = self._folder()
        if folder is not None:
            return {file.name: file.digest() for file in files(str(folder), (".arrow", STATE))}
        if self._is_arrow_file():
            return {file.name: file.digest() for file in files(self.path, (".arrow",))}
        return {f"{self.path}@{self.revision or 'main'}": self._commit()}

    def read(self, context: Context) -> Iterator[pa.RecordBatch]:
        pieces = self.pieces(context)
        return self._from_hub(context) if pieces is None else read_in_order(pieces, context)

    def pieces(self, context: Context, carry_out: CarryOut | None = None) -> Sequence[SourcePiece] | None:
        """One piece per file of a local data set; None for one on the Hub."""
        local = self._local()
        if local is None:
            return None
        columns = self._columns(local[1], partial(values_of, local[0]))
        return at_least_one(list(limited(pieces_of(local[0], columns, carry_out), self.rows)), columns)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if (found := self._planned()) is None else found.names

    def makes_types(self, types: Mapping[str, pa.DataType]) -> Mapping[str, pa.DataType]:
        return {} if (found := self._planned()) is None else known_types(found)

    def _planned(self) -> pa.Schema | None:
        """The columns of the rows of a local data set."""
        local = self._local()
        if local is None:
            return None
        return self._columns(local[1], partial(values_of, local[0])).rows_schema()

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=self.rows or 0)

    def _is_arrow_file(self) -> bool:
        return self.path.endswith(".arrow")

    def _folder(self) -> Path | None:
        """The directory of the data set to read, if ``path`` is local."""
        path = Path(self.path)
        if (path / "dataset_dict.json").is_file():
            splits = sorted(entry.name for entry in path.iterdir() if (entry / STATE).is_file())
            if self.split not in splits:
                raise DataError(f"{self.path}: no split {self.split!r}; there are {', '.join(splits)}")
            return path / self.split
        if path.is_dir():
            if not (path / STATE).is_file():
                raise DataError(
                    f"{self.path}: not a directory that Dataset.save_to_disk wrote (no {STATE}); "
                    "for a directory of Parquet or JSON Lines files use `source: parquet` or `source: jsonl`"
                )
            return path
        if not self._is_arrow_file() and not _HUB_ID.fullmatch(self.path):
            raise DataError(f"{self.path}: no such directory, and not the id of a data set on the Hub")
        return None

    def _local(self) -> tuple[list[File], pa.Schema] | None:
        """The files of a local data set, and their schema."""
        folder = self._folder()
        if folder is not None:
            return saved_data_set(folder)
        if self._is_arrow_file():
            found = files(self.path, (".arrow",))
            return found, common_schema(found)
        return None

    def _columns(self, schema: pa.Schema, values: Values) -> Columns:
        reader = RowReader(self.format, frozenset((*self.rename, *(self.columns or ()))))
        return Columns.of_schema(schema, reader, self.rename, self.columns, self.path, values)

    def _from_hub(self, context: Context) -> Iterator[pa.RecordBatch]:
        import datasets

        try:
            dataset = datasets.load_dataset(
                self.path, self.subset, split=self.split, revision=self.revision
            ).with_format("arrow")
        except Exception as error:  # the library raises a dozen unrelated types
            raise self._unreachable(error) from error
        plain_schema = plain(dataset.features.arrow_schema)
        columns = self._columns(plain_schema, lambda name: _values(dataset, name))
        batches: Iterator[Batch] = (
            (batch, self.path, number * _BATCH_ROWS)
            for number, table in enumerate(dataset.iter(batch_size=_BATCH_ROWS))
            for batch in table.combine_chunks().to_batches()
        )
        ready = checked(batches, columns.schema, list(columns.names))
        empty = True
        for batch in columns.of(ready, len(dataset) if self.rows is None else self.rows):
            context.check()
            empty = False
            yield batch
        if empty:
            yield from NoRows(columns).read()

    def _commit(self) -> str:
        """The commit of ``revision`` on the Hub; offline, the one downloaded last."""
        if self.revision and _COMMIT.fullmatch(self.revision):
            return self.revision
        from huggingface_hub import HfApi
        from huggingface_hub.constants import HF_HUB_CACHE

        try:
            found = HfApi().dataset_info(self.path, revision=self.revision, timeout=10).sha
            return str(found)
        except Exception as error:  # network, gate, name: all end here
            name = f"datasets--{self.path.replace('/', '--')}"
            known = Path(HF_HUB_CACHE) / name / "refs" / (self.revision or "main")
            if known.is_file():
                return known.read_text().strip()
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> DataError:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        return DataError(
            f"{self.path}: neither a local path nor an accessible data set of the Hugging Face Hub "
            f"({first}). "
            "Check the name, `subset`, `split` and `revision`; for a private one set HF_TOKEN; without a "
            "network, fetch it elsewhere, save it with Dataset.save_to_disk and give that directory as `path`"
        )


def _values(dataset: Any, name: str) -> Iterator[Any]:
    """The values of a column of a data set of the library."""
    for table in dataset.select_columns([name]).iter(batch_size=_BATCH_ROWS):
        yield from table.column(name).to_pylist()
