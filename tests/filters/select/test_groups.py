from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.contracts.stored_rows import TableRows
from gristmill.filters.select.groups import group_labels, members

from ..dedup.stored import BatchedRows


def test_groups_are_numbered_as_they_come_and_a_null_equals_a_null(rows: Any) -> None:
    table = rows(a=["x", None, "y", None, "x"], b=[1, 1, 1, 1, 2])
    for stored in (TableRows(table), BatchedRows(table, 2)):
        assert group_labels(stored, ["a", "b"], "here").tolist() == [0, 1, 2, 1, 3]
        assert members(group_labels(stored, ["a"], "here")) == [[0, 4], [1, 3], [2]]
        assert group_labels(stored, [], "here").tolist() == [0] * 5
    assert members(group_labels(TableRows(table.slice(0, 0)), ["a"], "here")) == []


@given(
    st.lists(st.tuples(st.sampled_from(["", "a", "b", "ab", "\0", None]), st.sampled_from([0, 1, None]))),
    st.integers(1, 3),
)
def test_rows_are_of_one_group_if_all_their_values_are_equal(
    values: list[tuple[str | None, int | None]], size: int
) -> None:
    table = pa.table({"a": pa.array([a for a, _ in values], pa.string()),
                      "b": pa.array([b for _, b in values], pa.int64())})  # fmt: skip
    order = list(dict.fromkeys(values))
    assert group_labels(BatchedRows(table, size), ["a", "b"], "x").tolist() == [
        order.index(value) for value in values
    ]


def test_lists_are_equal_if_all_their_values_are(rows: Any) -> None:
    table = TableRows(rows(a=pa.array([[1], [1, 2], None, [1], []])))
    assert group_labels(table, ["a"], "here").tolist() == [0, 1, 2, 0, 3]


def test_unknown_columns_are_refused(rows: Any) -> None:
    with pytest.raises(DataError, match="did you mean 'prompt'"):
        group_labels(TableRows(rows(prompt=["x"])), ["promt"], "here")
