"""Groups of rows that have equal values in some columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from ...contracts.errors import DataError
from ..columns import require_columns, without_nan

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def group_labels(table: pa.Table, columns: Sequence[str], who: str) -> NDArray[np.int64]:
    """Return the group number of each row, int64 ``(rows,)``, numbered by first occurrence.

    Without columns all rows are one group. Two nulls are equal, and NaN counts as null. Raises DataError if a
    column is missing or holds lists or structures.
    """
    import numpy as np

    if not columns:
        return np.zeros(table.num_rows, dtype=np.int64)
    values = [plain_values(table, name, who) for name in columns]
    numbers = count()
    known: dict[tuple[object, ...], int] = {}
    labels = np.empty(table.num_rows, dtype=np.int64)
    for row, key in enumerate(zip(*values, strict=True)):
        label = known.get(key)
        if label is None:
            label = known[key] = next(numbers)
        labels[row] = label
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
