"""Tables in a row, cut at other places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def cut(tables: Iterable[pa.Table], sizes: Iterable[int]) -> Iterator[pa.Table]:
    """The same rows in tables of these sizes; the last one has what is left. ``tables`` have one schema.

    Tables without any row give one table. Holds the rows of one table of each kind at a time.
    """
    import pyarrow as pa

    waiting: list[pa.Table] = []
    held, wanted, begun = 0, iter(sizes), False
    size = next(wanted, None)
    for table in tables:
        waiting.append(table)
        held += table.num_rows
        while size is not None and size <= held and held:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, size)
            waiting, held, begun = [whole.slice(size)], held - size, True
            size = next(wanted, None)
    if held or (waiting and not begun):
        yield pa.concat_tables(waiting)
