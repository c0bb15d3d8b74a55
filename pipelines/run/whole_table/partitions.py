"""Hash partitions: all rows with an equal key are in the same one, in every process and on every machine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from ....contracts.errors import DataError

#: Rows per partition on average, and bytes; several small partitions are computed together. Every file of
#: partitions has all of them, so that many would be many small reads.
PARTITION_ROWS, PARTITION_BYTES = 262_144, 16 << 20
MOST_PARTITIONS = 4_096


def partitions_for(rows: int, size: int) -> int:
    """The number of partitions for so many rows of ``size`` bytes: a power of two."""
    wanted = max(-(-rows // PARTITION_ROWS), -(-size // PARTITION_BYTES))
    return min(MOST_PARTITIONS, 1 << max(0, wanted - 1).bit_length())


def partition_of(keys: pa.ChunkedArray, count: int) -> NDArray[np.int64]:
    """The partition of each key, from 0. Raises DataError if keys of this type cannot be hashed."""
    return (_hashed(keys) % np.uint64(count)).astype(np.int64)


def together(sizes: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Ranges of partitions of ``sizes`` bytes, each of at most ``most`` bytes or of one partition."""
    ranges: list[tuple[int, int]] = []
    start, held = 0, 0
    for index, size in enumerate(sizes):
        if held and held + size > most:
            ranges.append((start, index))
            start, held = index, 0
        held += size
    return [*ranges, (start, len(sizes))]


def _hashed(keys: pa.ChunkedArray) -> NDArray[np.uint64]:
    kind = keys.type
    if pa.types.is_integer(kind):
        wrapped = pc.fill_null(keys, 0).to_numpy()
        return _mixed(wrapped.astype(np.int64 if pa.types.is_signed_integer(kind) else np.uint64))
    if pa.types.is_fixed_size_binary(kind):
        keys, kind = keys.cast(pa.binary()), pa.binary()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        keys, kind = keys.cast(pa.large_binary()), pa.large_binary()
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise DataError(
            f"rows cannot be grouped by a column of type {kind}: use an integer, string or binary"
        )
    values = [xxhash.xxh3_64_intdigest(value or b"") for value in keys.to_pylist()]
    return np.array(values, np.uint64)


def _mixed(numbers: NDArray[np.integer]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64 (Steele, Lea and Flood, 2014), so that regular keys spread evenly."""
    mixed = numbers.view(np.uint64).copy()
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))
