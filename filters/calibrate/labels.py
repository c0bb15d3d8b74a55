"""The labels of a calibration: of the rows themselves, or of another step, joined by a key."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from ...contracts.errors import DataError
from ..columns import is_text, number_column, require_columns

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def read_labels(table: pa.Table, column: str, who: str) -> NDArray[np.int8]:
    """Return 1 for right, 0 for wrong and -1 for null, int8 ``(rows,)``.

    Raises DataError if the column is missing, or holds anything but booleans, 0 and 1.
    """
    import numpy as np

    require_columns(table, [column], who)
    found = table.column(column)
    if is_text(found.type) and found.null_count < len(found):
        raise DataError(
            f"{who}: labels are true or false, or 1 or 0; the column '{column}' holds text: compute one, as "
            f"in compute: {{right: \"{column} = 'yes'\"}}"
        )
    values = number_column(table, column, who)
    known = ~np.isneginf(values)
    odd = known & (values != 0.0) & (values != 1.0)
    if odd.any():
        raise DataError(
            f"{who}: labels are true or false, or 1 or 0; the column '{column}' holds {values[odd][0]:g}: "
            f'compute one, as in compute: {{right: "{column} >= 0.5"}}'
        )
    return np.where(known, values, -1.0).astype(np.int8)


class Labels:
    """The labels of other rows, by their key. A key with a null matches nothing."""

    def __init__(self, table: pa.Table, column: str, key: Sequence[str], who: str) -> None:
        """Raises DataError if a column is missing, a label is not 0 or 1, or a key has both."""
        self._key, self._who = tuple(key), who
        self._known: dict[Hashable, int] = {}
        labels = read_labels(table, column, who).tolist()
        for each, label in zip(self._keys(table), labels):
            if label >= 0 and each is not None and self._known.setdefault(each, label) != label:
                shown = ", ".join(str(part)[:60] for part in each)
                raise DataError(
                    f"{who}: the labels hold both true and false for {' and '.join(key)} = {shown}: keep one "
                    "of them, or add a column to `key`"
                )

    def of(self, table: pa.Table) -> NDArray[np.int8]:
        """Return the label of each row, -1 without one, int8 ``(rows,)``."""
        import numpy as np

        labels = (-1 if each is None else self._known.get(each, -1) for each in self._keys(table))
        return np.fromiter(labels, np.int8, table.num_rows)

    def _keys(self, table: pa.Table) -> Sequence[tuple[str, ...] | None]:
        require_columns(table, self._key, self._who)
        return [
            None if None in parts else tuple(map(str, parts))
            for parts in zip(*(table.column(name).to_pylist() for name in self._key), strict=True)
        ]
