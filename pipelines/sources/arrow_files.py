"""Rows from Arrow files and streams, and from the folders that ``Dataset.save_to_disk`` writes.

Files are read and not memory-mapped: if another process truncates a mapped file, this one is killed (SIGBUS).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ...contracts.errors import DataError
from ...contracts.source_pieces import CarryOut
from .damaged_files import check_count, damage_told, refuse_impossible_times, validate
from .file_pieces import Columns, FilePiece, Found
from .locations import File, files
from .types import fitted, one_schema, plain

if TYPE_CHECKING:
    import pyarrow as pa

#: A batch, the name of its file, and the number of rows of the file before it.
Batch: TypeAlias = "tuple[pa.RecordBatch, str, int]"

STATE = "state.json"
_MAGIC = b"ARROW1"
#: Maximum number of rows per batch: a writer may have put all rows into one.
_BATCH_ROWS = 65_536


def common_schema(found: Sequence[File]) -> pa.Schema:
    """The common schema of the files.

    Raises DataError if a file is not an Arrow file or stream, or if there is no common schema.
    """
    return one_schema((file.name, _schema(file)) for file in found)


def pieces_of(found: Sequence[File], columns: Columns, carry_out: CarryOut | None) -> Iterator[WholeFile]:
    """One piece per file. The rows of a file are counted by reading it, here or by ``carry_out``."""
    as_found = [Found.of(file) for file in found]
    counting: list[Callable[[], int]] = [partial(_count, each) for each in as_found]
    counts = (
        carry_out(counting) if carry_out is not None and len(found) > 1 else (each() for each in counting)
    )
    for each, rows in zip(as_found, counts):
        yield WholeFile(each, columns, rows, each.file.size() or 0)


class WholeFile(FilePiece):
    """An Arrow file or stream."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        return checked(_batches(self.found.file), self.columns.schema, list(self.columns.names))


def checked(pieces: Iterable[Batch], schema: pa.Schema, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The validated batches with these columns of the schema. Raises DataError if they are damaged."""
    for batch, file, start in pieces:
        chosen = batch.select([name for name in columns if name in batch.schema.names])
        validate(chosen, file, start)
        for first in range(0, batch.num_rows, _BATCH_ROWS):
            ready = fitted(chosen.slice(first, _BATCH_ROWS), schema, columns, file)
            refuse_impossible_times(ready, file, start + first)
            yield ready


def saved_data_set(folder: Path) -> tuple[list[File], pa.Schema]:
    """The files of a folder of ``Dataset.save_to_disk``, and their schema.

    Raises DataError if it is damaged.
    """
    found = _saved_files(folder)
    # An empty data set may have no files; only its description then lists the columns.
    return found, common_schema(found) if found else _described(folder)


def _described(folder: Path) -> pa.Schema:
    from datasets import Features

    file = folder / "dataset_info.json"
    try:
        features = Features.from_dict(json.loads(file.read_bytes())["features"])
        return plain(features.arrow_schema)
    except Exception as error:  # the library raises a dozen unrelated types
        raise DataError(
            f"{file}: not what Dataset.save_to_disk writes ({type(error).__name__}): save the data set again"
        ) from error


def _saved_files(folder: Path) -> list[File]:
    """The Arrow files of a saved data set, in the order that its ``state.json`` gives."""
    state = folder / STATE
    try:
        names = [entry["filename"] for entry in json.loads(state.read_bytes())["_data_files"]]
        wrong = next((name for name in names if Path(name).name != name), None)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{state}: not what Dataset.save_to_disk writes ({type(error).__name__}: {error}): save "
            "the data set again"
        ) from error
    if wrong is not None:
        raise DataError(
            f"{state}: names the file {wrong!r}, which is not in its folder: save the data set again"
        )
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{folder}: {STATE} names {missing[0]!r}, which is not there: save the data set again"
        )
    return [file for name in names for file in files(str(folder / name), (".arrow",))]


@contextmanager
def _opened(file: File, options: Any = None) -> Iterator[Any]:
    """A reader of the file's batches, and its schema."""
    import pyarrow as pa

    with file.open() as stream, damage_told(file.name, "an Arrow file"):
        is_file = stream.read(len(_MAGIC)) == _MAGIC
        stream.seek(0)
        opened = pa.ipc.open_file if is_file else pa.ipc.open_stream
        yield opened(stream, options=options)


def _schema(file: File) -> pa.Schema:
    with _opened(file) as reader:
        return plain(reader.schema)


def _count(found: Found) -> int:
    """The number of rows: only the first column is decoded."""
    import pyarrow as pa

    found.check_here()
    file = found.file
    total, first = 0, [0] if _schema(file).names else []
    with _opened(file, pa.ipc.IpcReadOptions(included_fields=first)) as reader:
        for batch in _each(reader):
            check_count(batch.num_rows, file.name)
            total += batch.num_rows
    return total


def values_of(files: Sequence[File], name: str) -> Iterator[Any]:
    """The values of a column of all files."""
    for file in files:
        for batch, _, _ in _batches(file):
            yield from batch.column(name).to_pylist()


def _batches(file: File) -> Iterator[Batch]:
    start = 0
    with _opened(file) as reader:
        for batch in _each(reader):
            yield batch, file.name, start
            start += batch.num_rows


def _each(reader: Any) -> Iterator[pa.RecordBatch]:
    count = getattr(reader, "num_record_batches", None)
    return iter(reader) if count is None else (reader.get_batch(number) for number in range(count))
