"""Rows of text files, as batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .shape import Shapes

if TYPE_CHECKING:
    import pyarrow as pa

#: Largest batch, in rows, and in bytes or characters of its file.
BATCH_ROWS = 8192
BATCH_SIZE = 4 << 20


def batches_of(
    rows: Iterable[tuple[Mapping[str, Any], str, int]], shapes: Shapes, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Batches of ``schema``. ``rows``: each with its place, for errors, and its size in the file."""
    waiting: list[Mapping[str, Any]] = []
    places: list[str] = []
    held = 0
    for row, place, size in rows:
        waiting.append(row)
        places.append(place)
        held += size
        if len(waiting) == BATCH_ROWS or held >= BATCH_SIZE:
            yield shapes.batch(waiting, schema, places)
            waiting, places, held = [], [], 0
    if waiting:
        yield shapes.batch(waiting, schema, places)
