"""Turns the result of a table operator into fates, reasons and columns, without a loop over the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...contracts.counting import counted
from ...contracts.errors import DataError
from ...contracts.outcomes import Failed, TableResult
from ...contracts.printable import printable
from ..store.parts import FAILED, FATE, FILTERED, ID, KEPT, REASON, REASON_TYPE
from .outcomes import all_kept, check_columns, error_reason, put

_FATES = pa.array([KEPT, FILTERED, FAILED])


def from_table_result(table: pa.Table, result: TableResult) -> pa.Table:
    """The table from a table operator's result: added columns, and a fate for each row."""
    check_result(result, table.num_rows)
    for name, column in result.columns.items():
        table = put(table, name, column)
    rows = table.num_rows
    kept = np.ones(rows, bool) if result.kept is None else np.asarray(result.kept, bool)
    failed = failures(result, rows)
    filtered = ~(kept | failed)
    if not (filtered.any() or failed.any()):
        return all_kept(table)
    fates = _FATES.take(pa.array(np.where(failed, 2, np.where(filtered, 1, 0))))
    return put(put(table, FATE, fates), REASON, _reasons(table, result, filtered, failed))


def check_result(result: TableResult, rows: int) -> None:
    """Raise DataError if a part of the result is not of the table's length, or sets a reserved column."""
    check_columns(result.columns)
    found: dict[str, Any] = {f"column {name}": column for name, column in result.columns.items()}
    for name in ("kept", "score", "duplicate_of", "errors", "rule"):
        value = getattr(result, name)
        if value is not None and not isinstance(value, str):
            found[name] = value
    for name, value in found.items():
        if len(value) != rows:
            raise DataError(f"{name} has {counted(len(value), 'value')} for {counted(rows, 'row')}")


def failures(result: TableResult, rows: int) -> NDArray[np.bool_]:
    """Which rows failed."""
    if result.errors is None:
        return np.zeros(rows, bool)
    return np.fromiter((error is not None for error in result.errors), bool, rows)


def _reasons(
    table: pa.Table, result: TableResult, filtered: NDArray[np.bool_], failed: NDArray[np.bool_]
) -> pa.StructArray:
    """The reason of each row; null where it is kept. What was not said is null too."""
    rows = table.num_rows
    errors: list[str | None] = [None] * rows
    retryable: list[bool | None] = [None] * rows
    for index in np.flatnonzero(failed):
        error = result.errors[index] if result.errors is not None else None
        told = error_reason(error if isinstance(error, Failed) else Failed(str(error)))
        errors[index], retryable[index] = told["error"], told["retryable"]
    columns = [
        _rules(result.rule, filtered),
        pa.nulls(rows, pa.float64())
        if result.score is None
        else pa.array(np.asarray(result.score, np.float64), mask=~filtered),
        _only(_duplicates(table, result), filtered),
        pa.array(errors, pa.string()),
        pa.array(retryable, pa.bool_()),
    ]
    mask = pa.array(~(filtered | failed))
    return pa.StructArray.from_arrays(columns, fields=list(REASON_TYPE), mask=mask)


def _rules(rule: str | Sequence[str | None], filtered: NDArray[np.bool_]) -> pa.Array:
    if isinstance(rule, str):
        return _only(pa.repeat(printable(rule), len(filtered)), filtered)
    given = pc.fill_null(pa.array(rule, pa.string()), "").dictionary_encode()
    shown = pa.array([printable(each) for each in given.dictionary.to_pylist()], pa.string())
    return _only(shown.take(given.indices), filtered)


def _duplicates(table: pa.Table, result: TableResult) -> pa.Array:
    """The ``_id`` of the row that each row duplicates, where the operator gives ids or row numbers."""
    given = result.duplicate_of
    if given is None:
        return pa.nulls(table.num_rows, pa.string())
    if isinstance(given, np.ndarray):
        return _one(table[ID].take(pa.array(given, mask=given < 0)))
    return _one(given) if isinstance(given, pa.ChunkedArray) else pa.array(given, pa.string())


def _only(values: pa.Array, where: NDArray[np.bool_]) -> pa.Array:
    return pc.if_else(pa.array(where), values, pa.scalar(None, values.type))


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
