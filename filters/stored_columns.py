"""What filters read from the columns of stored rows, with one batch of them in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..contracts.stored_rows import ROW, StoredRows
from .columns import joined_texts, number_column, require_named, text_column

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def rows_at(rows: StoredRows, places: NDArray[np.int64], names: Sequence[str]) -> pa.Table:
    """Return a table of the rows with these numbers (ascending), with these columns."""
    import numpy as np
    import pyarrow as pa

    found = []
    for batch in rows.batches(names):
        first = batch.column(ROW)[0].as_py()
        low, high = np.searchsorted(places, [first, first + batch.num_rows])
        found.append(batch.select(list(names)).take(places[low:high] - first))
    return pa.concat_tables(found) if found else rows.table(names)


def text_lengths(rows: StoredRows, columns: Sequence[str], who: str) -> NDArray[np.float64]:
    """Return how many characters each row has in these columns. Null has none.

    Raises DataError as :func:`text_column` does.
    """
    import numpy as np
    import pyarrow.compute as pc

    require_named(rows.column_names, columns, who)
    lengths, done = np.zeros(rows.num_rows), 0
    for batch in rows.batches(columns):
        own = lengths[done : done + batch.num_rows]
        for name in columns:
            own += pc.fill_null(pc.utf8_length(text_column(batch, name, who)), 0).to_numpy()
        done += batch.num_rows
    return lengths


def numbers(rows: StoredRows, column: str, who: str) -> NDArray[np.float64]:
    """Return :func:`number_column` of all rows. Of the columns, only this one is in memory."""
    require_named(rows.column_names, [column], who)
    return number_column(rows.table([column]), column, who)


def texts_at(rows: StoredRows, places: NDArray[np.int64], columns: Sequence[str], who: str) -> list[str]:
    """Return :func:`joined_texts` of the rows with these numbers, in their order; null as an empty text."""
    import numpy as np

    order = np.argsort(places, kind="stable")
    texts = joined_texts(rows_at(rows, places[order], columns), columns, who)
    found = [""] * len(places)
    for place, text in zip(order.tolist(), texts, strict=True):
        found[place] = text or ""
    return found
