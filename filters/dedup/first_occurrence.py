"""Finds the first row with each key, in memory where the keys fit, or else by partitions of the keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...contracts.stored_rows import ROW, StoredRows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from .text_digest import Digests

#: The two halves of a key.
HIGH, LOW = "high", "low"
#: The first row with the key of ``_row``.
_FIRST = "first"
#: Bytes per key while all are sorted in memory.
_BYTES = 64


def key_table(rows: pa.ChunkedArray, keys: Digests) -> pa.Table:
    """The keys of rows (int64 numbers), as :func:`copies` reads them."""
    import numpy as np
    import pyarrow as pa

    halves = [pa.array(np.ascontiguousarray(half).view(np.int64)) for half in keys.T]
    return pa.table({ROW: rows, HIGH: halves[0], LOW: halves[1]})


def copies(keys: StoredRows, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows whose key an earlier row has, ascending, and the first row with it (int64).

    ``keys``: of :func:`key_table`. ``name``: of the partitions, if keys do not fit into half of the memory.
    """
    import numpy as np

    if keys.memory is not None and keys.num_rows * _BYTES > keys.memory // 2:
        found = keys.group(_copies_of_partition, HIGH, name=name)
        parts = [(part[ROW].to_numpy(), part[_FIRST].to_numpy()) for part in found.batches([_FIRST])]
        rows = np.concatenate([np.empty(0, np.int64), *(part[0] for part in parts)])
        first = np.concatenate([np.empty(0, np.int64), *(part[1] for part in parts)])
    else:
        columns = np.empty((3, keys.num_rows), np.int64)
        place = 0
        for batch in keys.batches([HIGH, LOW]):
            for target, column in zip(columns, (HIGH, LOW, ROW)):
                target[place : place + batch.num_rows] = batch[column].to_numpy()
            place += batch.num_rows
        rows, first = _copies(*columns)
    order = np.argsort(rows)
    return rows[order], first[order]


def _copies_of_partition(table: pa.Table) -> pa.Table:
    import pyarrow as pa

    rows, first = _copies(*(table[name].to_numpy() for name in (HIGH, LOW, ROW)))
    return pa.table({ROW: rows, _FIRST: first})


def _copies(
    high: NDArray[np.int64], low: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows that are not the first with their key, in any order, and the first row of each.

    ``rows``: ascending, as far as their keys are equal.
    """
    import numpy as np

    order = _by_key(high, low)
    new = np.ones(len(order), bool)
    new[1:] = _differ(high[order], low[order])
    first = rows[order[np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))]]
    return rows[order[~new]], first[~new]


def _by_key(high: NDArray[np.int64], low: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places of the keys that may have an equal one, by key, then place.

    Sorting numbers is several times as fast as sorting places by numbers. So the first bits of a key and its
    place are sorted as one number; the rest of the key orders the few that agree in those bits alone.
    """
    import numpy as np

    bits = np.uint64(max(len(high), 1).bit_length())
    sorted_keys = (high.view(np.uint64) >> bits << bits) | np.arange(len(high), dtype=np.uint64)
    sorted_keys.sort()
    order: NDArray[np.int64] = (sorted_keys & ((np.uint64(1) << bits) - np.uint64(1))).view(np.int64)
    sorted_keys >>= bits
    same = sorted_keys[1:] == sorted_keys[:-1]
    paired = np.zeros(len(high), bool)
    paired[1:] |= same
    paired[:-1] |= same
    order, start = order[paired], sorted_keys[paired]

    starts_alike = start[1:] == start[:-1]
    differ = _differ(high[order], low[order])
    run = np.concatenate([np.zeros(1, np.int64), np.cumsum(~starts_alike)])[: len(order)]
    mixed = np.zeros(len(order), bool)  # by run
    mixed[run[1:][starts_alike & differ]] = True
    among = np.flatnonzero(mixed[run])
    some = order[among]
    order[among] = some[np.lexsort((low[some], high[some].view(np.uint64)))]
    return order


def _differ(high: NDArray[np.int64], low: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each key but the first is another one than the key before it."""
    differ: NDArray[np.bool_] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    return differ
