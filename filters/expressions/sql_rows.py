"""Values of expressions for each row of a table. A row that fails does not affect the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ...contracts.counting import counted
from ...contracts.errors import DataError
from .sql_process import Evaluation, LimitReached, QueryError
from .sql_tree import TABLE

if TYPE_CHECKING:
    import pyarrow as pa

#: The column with row numbers, by which results are put back in order.
ROW = "_row_number"


def numbered(table: pa.Table, rows: int) -> pa.Table:
    """Return the table with its row numbers as a column.

    A table without columns has no length of its own.
    """
    import pyarrow as pa

    return table.append_column(ROW, pa.array(range(rows), pa.int64()))


class Values(NamedTuple):
    """The values of several expressions.

    ``columns``: one column of the table's length per expression, null where the row failed. ``errors``: why,
    by row.
    """

    columns: list[pa.ChunkedArray]
    errors: dict[int, str]


def values_of(evaluation: Evaluation, expressions: Sequence[str], *, apart: bool) -> Values:
    """Evaluate ``expressions`` for each row.

    ``apart``: whether each row is computed on its own, so that failing rows can be found. Raises QueryError
    if the expressions fail for every row, or for more rows than the limits allow.
    """
    import pyarrow as pa

    select = ", ".join([ROW, *(f"({text}\n) AS c{number}" for number, text in enumerate(expressions))])
    whole = f"SELECT {select} FROM {TABLE}"
    rows, limits = evaluation.table.num_rows, evaluation.limits
    try:
        made = evaluation.query(f"{whole} ORDER BY {ROW}")
        _refuse_several(made, rows)
        if not apart or made.nbytes <= limits.value:
            return Values(made.columns[1:], {})
    except QueryError:
        if not apart or not rows:
            raise
        # An expression that fails on no rows fails for every row.
        made = evaluation.query(f"{whole} WHERE {ROW} < 0")
    parts, errors = [made], dict[int, str]()
    waiting = [(0, rows)] if made.num_rows == 0 else []
    taken = 0
    while waiting:
        start, stop = waiting.pop()
        try:
            part = evaluation.query(
                f"{whole} WHERE {ROW} BETWEEN {start} AND {stop - 1}", limits.part_seconds
            )
        except QueryError as error:
            if stop - start == 1:
                errors[start] = str(error)
                if len(errors) > limits.failures:
                    raise QueryError(f"{error}, and so for {limits.failures:,} rows more") from None
                continue
            middle = (start + stop) // 2
            waiting += [(middle, stop), (start, middle)]
            continue
        parts.append(part)
        taken += part.nbytes
        if taken > limits.memory:
            raise LimitReached(
                f"its values need more memory than the limit of {limits.memory / 2**30:.2g} GiB"
            )
    return _assembled(pa.concat_tables(parts), errors, rows, limits.value)


def _refuse_several(made: pa.Table, rows: int) -> None:
    if made.num_rows != rows:
        raise DataError(
            f"an expression must give one value per row: found {made.num_rows:,} for {counted(rows, 'row')}"
        )


def _assembled(made: pa.Table, errors: dict[int, str], rows: int, most: int) -> Values:
    import numpy as np
    import pyarrow as pa

    for place in too_large(made, most):
        number = made[ROW][place].as_py()
        errors[number] = (
            f"its values need {made.slice(place, 1).nbytes:,} bytes; the limit per row is {most:,}"
        )
    places = np.full(rows, -1, np.int64)
    places[made[ROW].to_numpy()] = np.arange(made.num_rows)
    places[list(errors)] = -1
    taken = made.drop_columns([ROW]).take(pa.array(places, mask=places < 0))
    return Values(taken.columns, errors)


def too_large(table: pa.Table, most: int) -> list[int]:
    """Yield the rows with more than ``most`` bytes. A part that is small enough is not searched."""
    found, waiting = [], [(0, table.num_rows)]
    while waiting:
        start, stop = waiting.pop()
        if start == stop or table.slice(start, stop - start).nbytes <= most:
            continue
        if stop - start == 1:
            found.append(start)
            continue
        middle = (start + stop) // 2
        waiting += [(middle, stop), (start, middle)]
    return found
