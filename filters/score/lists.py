"""Sums over the lists of an Arrow list column, without a Python loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...contracts.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def flatten(column: pa.ChunkedArray | pa.Array, who: str) -> tuple[pa.Array, NDArray[np.int64]]:
    """Return (all elements in sequence, the length of each list); a null list counts as empty.

    Raises DataError if the column does not hold lists.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if not (pa.types.is_list(array.type) or pa.types.is_large_list(array.type)):
        raise DataError(f"{who} needs a column of lists, found {array.type}")
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return array.flatten(), lengths


def sum_by_list(values: NDArray[np.float64], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the sum of each run of ``lengths[i]`` values (float64); 0 for an empty run.

    ``values`` has shape ``(lengths.sum(),)``; the result has the shape of ``lengths``.
    """
    import numpy as np

    sums = np.zeros(len(lengths))
    filled = lengths > 0
    if filled.any():
        starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
        # Empty runs hold no values, so each run ends where the next filled run starts.
        sums[filled] = np.add.reduceat(values, starts[filled])
    return sums
