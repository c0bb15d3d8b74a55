"""Rows from Arrow files and streams, and from the folders that ``Dataset.save_to_disk`` writes.

Files are read and not memory-mapped: if another process truncates a mapped file, this one is killed (SIGBUS).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ...contracts.errors import DataError
from .damaged_files import damage_told, refuse_impossible_times, validate
from .locations import File, files
from .types import fitted, one_schema, plain

if TYPE_CHECKING:
    import pyarrow as pa

#: A batch, the name of its file, and the number of rows of the file before it.
Piece: TypeAlias = "tuple[pa.RecordBatch, str, int]"

STATE = "state.json"
_MAGIC = b"ARROW1"
#: Maximum number of rows per batch: a writer may have put all rows into one.
_BATCH_ROWS = 65_536


def arrow_files(found: Sequence[File]) -> tuple[pa.Schema, Iterator[Piece]]:
    """The common schema of the files, and their batches.

    Raises DataError if a file is not an Arrow file or stream, or if there is no common schema.
    """
    return one_schema((file.name, _schema(file)) for file in found), _batches(found)


def checked(pieces: Iterator[Piece], schema: pa.Schema, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The validated batches with these columns of the schema. Raises DataError if they are damaged."""
    for batch, file, start in pieces:
        chosen = batch.select([name for name in columns if name in batch.schema.names])
        validate(chosen, file, start)
        for first in range(0, batch.num_rows, _BATCH_ROWS):
            ready = fitted(chosen.slice(first, _BATCH_ROWS), schema, columns, file)
            refuse_impossible_times(ready, file, start + first)
            yield ready


def saved_data_set(folder: Path) -> tuple[pa.Schema, Iterator[Piece]]:
    """The schema and the batches of a folder of ``Dataset.save_to_disk``.

    Raises DataError if it is damaged.
    """
    found = _saved_files(folder)
    # An empty data set may have no files; only its description then lists the columns.
    return arrow_files(found) if found else (_described(folder), iter(()))


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
def _opened(file: File) -> Iterator[Any]:
    """A reader of the file's batches, and its schema."""
    import pyarrow as pa

    with file.open() as stream, damage_told(file.name, "an Arrow file"):
        is_file = stream.read(len(_MAGIC)) == _MAGIC
        stream.seek(0)
        yield pa.ipc.open_file(stream) if is_file else pa.ipc.open_stream(stream)


def _schema(file: File) -> pa.Schema:
    with _opened(file) as reader:
        return plain(reader.schema)


def _batches(found: Sequence[File]) -> Iterator[Piece]:
    for file in found:
        with _opened(file) as reader:
            start = 0
            count = getattr(reader, "num_record_batches", None)
            batches = iter(reader) if count is None else (reader.get_batch(number) for number in range(count))
            for batch in batches:
                yield batch, file.name, start
                start += batch.num_rows
