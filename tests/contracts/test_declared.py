"""Rows with columns of nulls that steps before them declare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from gristmill.contracts.declared import filled, filled_rows, filled_stored
from gristmill.contracts.stored_rows import ROW, StoredRows, TableRows

DECLARED = {"n": pa.string(), "thought": pa.string(), "calls": pa.list_(pa.int32())}


def rows() -> StoredRows:
    return filled_stored(TableRows(pa.table({"_id": ["a", "b"], "n": [1, 2]})), DECLARED)


def test_a_column_that_is_there_stays_and_others_are_null_and_typed() -> None:
    table = filled(pa.table({"n": [1, 2]}), DECLARED)
    assert table.schema.types == [pa.int64(), pa.string(), pa.list_(pa.int32())]
    assert table.to_pylist() == [{"n": n, "thought": None, "calls": None} for n in (1, 2)]


def test_rows_of_python_get_none() -> None:
    assert filled_rows([{"n": 1}], DECLARED) == [{"n": 1, "thought": None, "calls": None}]
    assert filled_rows([], DECLARED) == []


def test_stored_rows_have_the_columns_however_they_are_read() -> None:
    assert rows().column_names == ["_id", "n", "thought", "calls"]
    assert rows().table().column_names == ["_id", "n", "thought", "calls"]
    assert rows().table(["calls", "n"]).column_names == ["calls", "n"]
    assert [batch.column_names for batch in rows().batches(["thought", "_id"])] == [["thought", "_id", ROW]]


def test_the_number_of_rows_is_kept_where_only_such_columns_are_read() -> None:
    assert rows().table(["thought"]).to_pylist() == [{"thought": None}] * 2
    (batch,) = rows().batches(["thought"])
    assert batch.to_pylist() == [{"thought": None, ROW: 0}, {"thought": None, ROW: 1}]


def test_functions_of_batches_and_files_see_them() -> None:
    seen: list[Any] = []

    def look(table: pa.Table) -> pa.Table:
        seen.append(table.to_pylist())
        return table

    rows().map(look, ["thought"], name="look")
    rows().write(
        lambda tables, path: seen.extend(each.to_pylist() for each in tables), [Path("f")], ["calls"]
    )
    assert seen == [[{"thought": None, ROW: 0}, {"thought": None, ROW: 1}], [{"calls": None}] * 2]


def test_rows_that_lack_nothing_stay_as_they_are() -> None:
    stored = TableRows(pa.table({"_id": ["a"], "n": [1]}))
    assert filled_stored(stored, {"n": pa.string()}) is stored
