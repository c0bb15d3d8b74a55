"""The reference implementation of rows that are computed over in batches and by key."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from gristmill.contracts import stored_rows
from gristmill.contracts.stored_rows import ROW, TableRows


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(stored_rows, "BATCH_ROWS", 3)


def rows() -> TableRows:
    return TableRows(pa.table({"_id": list("abcdefg"), "key": [2, 1, 2, 3, 1, 2, 1]}))


def test_batches_have_the_chosen_columns_and_the_number_of_each_row():
    batches = list(rows().batches(["key"]))
    assert [batch.column_names for batch in batches] == [["key", ROW]] * 3
    assert [batch[ROW].to_pylist() for batch in batches] == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_table_has_no_row_numbers():
    assert rows().table().column_names == ["_id", "key"]
    assert rows().table(["key"]).column_names == ["key"]


def test_a_map_keeps_the_order_and_may_drop_rows():
    odd = rows().map(lambda batch: batch.filter(pc.equal(batch["key"], 2)), ["key"], name="twos")
    assert odd.table().num_rows == odd.num_rows == 3
    assert [row for batch in odd.batches() for row in batch[ROW].to_pylist()] == [0, 2, 5]


def test_a_map_over_no_rows_has_the_functions_columns():
    empty = TableRows(pa.table({"text": pa.array([], pa.string())}))
    made = empty.map(lambda batch: batch.append_column("n", pc.utf8_length(batch["text"])), name="lengths")
    assert made.column_names == ["text", "n"]


def test_a_group_holds_all_rows_of_a_key_in_their_order():
    seen = []

    def look(table: pa.Table) -> pa.Table:
        seen.append((table["key"].to_pylist(), table[ROW].to_pylist()))
        return table

    rows().group(look, "key", name="by key")
    assert seen == [([1, 1, 1, 2, 2, 2, 3], [1, 4, 6, 0, 2, 5, 3])]
