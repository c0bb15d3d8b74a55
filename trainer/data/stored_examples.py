"""Examples in an Arrow file that is mapped into memory: a training holds those of one pack at a time.

As Python objects, a row of 500 tokens takes 18 KB; in the file it takes 2 KB, which the system reads when it
is needed and may drop again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .examples import Example, TokenSequence
from .lazy_examples import Examples

_TYPES = {"ids": pa.int32(), "trained": pa.bool_(), "weights": pa.float64()}
_SEQUENCES = pa.list_(pa.struct([(name, pa.list_(kind)) for name, kind in _TYPES.items()]))
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("sequences", _SEQUENCES),
        ("weight", pa.float64()),
        ("value", pa.float64()),
        ("group", pa.string()),
        ("sampled", pa.list_(pa.float64())),
        ("cut_off", pa.bool_()),
        ("beside", _SEQUENCES),
        ("apart", pa.bool_()),
        ("tokens", pa.int32()),
        ("longest", pa.int32()),
        ("row", pa.int64()),
    ]
)
#: Fields with one value.
_SMALL = ("id", "weight", "value", "group", "cut_off", "apart", "row")


class StoredExamples(Examples):
    """The examples in a file that :func:`batch_of` and an Arrow writer made. The file is read as needed."""

    def __init__(self, path: Path) -> None:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        self._batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        self._starts: list[int] = [0, *accumulate(batch.num_rows for batch in self._batches)]
        self._size = path.stat().st_size

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def tokens(self) -> list[int]:
        found: list[int] = self._column("tokens").to_pylist()
        return found

    @property
    def longest(self) -> int:
        found: int | None = pc.max(self._column("longest")).as_py()
        return found or 0

    @property
    def ids(self) -> list[str]:
        found: list[str] = self._column("id").to_pylist()
        return found

    @property
    def rows(self) -> list[int]:
        found: list[int] = self._column("row").to_pylist()
        return found

    @property
    def size(self) -> int:
        return self._size

    def at(self, index: int) -> Example:
        number = bisect_right(self._starts, index) - 1
        return _read(self._batches[number], index - self._starts[number])

    def _column(self, name: str) -> pa.ChunkedArray:
        return pa.chunked_array([batch.column(name) for batch in self._batches], SCHEMA.field(name).type)


def batch_of(examples: Sequence[Example]) -> pa.RecordBatch:
    """Return the examples as they are stored. They have no ``reference`` yet."""
    columns: dict[str, pa.Array] = {
        name: _stored([getattr(example, name) for example in examples]) for name in ("sequences", "beside")
    }
    for field in SCHEMA:
        if field.name not in columns:
            values = [getattr(example, field.name) for example in examples]
            columns[field.name] = pa.array(values, field.type)
    return pa.record_batch([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def counted_on(batch: pa.RecordBatch, before: int) -> pa.RecordBatch:
    """Return the examples of a batch of rows, their ``row`` counted from ``before``, the rows so far."""
    place = SCHEMA.get_field_index("row")
    return batch.set_column(place, SCHEMA.field(place), pc.add(batch.column(place), before))


def _stored(examples: Sequence[Sequence[TokenSequence]]) -> pa.ListArray:
    """Return the sequences of each example, by way of arrays, which is fast."""
    flat = [sequence for sequences in examples for sequence in sequences]
    lists = [
        _lists([each.ids for each in flat], np.int32),
        _lists([each.trained for each in flat], np.bool_),
        _lists([each.weights or () for each in flat], np.float64),
    ]
    struct = pa.StructArray.from_arrays(lists, fields=list(_SEQUENCES.value_type))
    return pa.ListArray.from_arrays(_offsets(examples), struct)


def _lists(values: Sequence[Sequence[Any]], dtype: Any) -> pa.ListArray:
    arrays = [np.array(each, dtype) for each in values]
    whole = np.concatenate(arrays) if arrays else np.empty(0, dtype)
    return pa.ListArray.from_arrays(_offsets(values), pa.array(whole))


def _offsets(values: Sequence[Sequence[Any]]) -> pa.Array:
    return pa.array([0, *accumulate(map(len, values))], pa.int32())


def _read(batch: pa.RecordBatch, row: int) -> Example:
    small = {name: batch.column(name)[row].as_py() for name in _SMALL}
    return Example(
        sequences=_sequences(batch.column("sequences"), row),
        sampled=tuple(_values(batch.column("sampled"), row)),
        beside=_sequences(batch.column("beside"), row),
        **small,
    )


def _sequences(column: pa.ListArray, row: int) -> tuple[TokenSequence, ...]:
    start, stop = column.offsets[row].as_py(), column.offsets[row + 1].as_py()
    ids, trained, weights = (column.values.field(name) for name in ("ids", "trained", "weights"))
    found = [
        TokenSequence(
            tuple(_values(ids, place)),
            tuple(_values(trained, place)),
            tuple(_values(weights, place)) or None,
        )
        for place in range(start, stop)
    ]
    return tuple(found)


def _values(column: pa.ListArray, row: int) -> list[Any]:
    """Return the values of a list as Python's, by way of an array, which is fast."""
    start, stop = column.offsets[row].as_py(), column.offsets[row + 1].as_py()
    found: list[Any] = column.values.slice(start, stop - start).to_numpy(zero_copy_only=False).tolist()
    return found
