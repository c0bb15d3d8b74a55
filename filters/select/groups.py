"""Groups of rows that have equal values in some columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_128_digest

from ...contracts.errors import DataError
from ...contracts.stored_rows import StoredRows
from ..columns import require_columns, require_named, without_nan
from ..dedup.value_digest import encoded

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def group_labels(rows: StoredRows, columns: Sequence[str], who: str) -> NDArray[np.int64]:
    """Return the group number of each row, int64 ``(rows,)``, numbered by first occurrence.

    Without columns all rows are one group. Two nulls are equal, and NaN counts as null. Lists and structures
    are equal if all their values are. Values are read in batches and compared by 128-bit digests. Raises
    DataError if a column is missing.
    """
    import numpy as np

    if not columns:
        return np.zeros(rows.num_rows, dtype=np.int64)
    require_named(rows.column_names, columns, who)
    digests = b"".join(
        xxh3_128_digest(encoded(key))
        for batch in rows.batches(columns)
        for key in zip(*without_nan(batch.select(columns)).to_pydict().values(), strict=True)
    )
    _, first, label = np.unique(np.frombuffer(digests, "V16"), return_index=True, return_inverse=True)
    number = np.empty(len(first), dtype=np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    labels: NDArray[np.int64] = number[label]
    return labels


def plain_values(table: pa.Table, name: str, who: str) -> list[Any]:
    """Return the values of a column, hashable and comparable; None for null and NaN.

    Raises DataError if the column is missing or holds lists or structures.
    """
    import pyarrow as pa

    require_columns(table, [name], who)
    if pa.types.is_nested(table.column(name).type):
        raise DataError(
            f"{who} compares texts and numbers; the column '{name}' holds {table.column(name).type}"
        )
    values: list[Any] = without_nan(table.select([name])).column(name).to_pylist()
    return values


def members(labels: NDArray[np.int64]) -> list[list[int]]:
    """Return the row indices of each group, in order."""
    groups: list[list[int]] = [[] for _ in range(int(labels.max()) + 1)] if len(labels) else []
    for row, label in enumerate(labels.tolist()):
        groups[label].append(row)
    return groups
