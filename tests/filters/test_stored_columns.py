"""Rows of which only some columns are read, batch by batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gristmill.contracts.errors import DataError
from gristmill.contracts.stored_rows import TableRows
from gristmill.filters.stored_columns import numbers, rows_at, text_lengths, texts_at

from .dedup.stored import BatchedRows


@pytest.mark.parametrize("size", [1, 3, 10])
def test_rows_are_found_by_their_numbers_in_any_batches(rows: Any, size: int) -> None:
    table = rows(a=[f"a{n}" for n in range(10)], b=[None, *"bcdefghij"])
    stored = BatchedRows(table, size)
    found = rows_at(stored, np.array([0, 4, 5, 9]), ["a"])
    assert found.column_names == ["a"]
    assert found["a"].to_pylist() == ["a0", "a4", "a5", "a9"]
    assert texts_at(stored, np.array([9, 0, 4]), ["a", "b"], "here") == ["a9\nj", "", "a4\ne"]
    assert rows_at(stored, np.array([], np.int64), ["b"]).num_rows == 0


def test_lengths_are_those_of_all_columns(rows: Any) -> None:
    table = rows(a=["é", None, "abc"], b=["", "🙂", None])
    for size in (1, 2, 3):
        assert text_lengths(BatchedRows(table, size), ["a", "b"], "here").tolist() == [1, 1, 3]


def test_a_missing_column_is_told_with_those_that_there_are(rows: Any) -> None:
    stored = TableRows(rows(answer=["a"], grade=[1.0]))
    with pytest.raises(
        DataError, match=r"here needs the column 'grades'; did you mean 'grade'\?.*: answer, grade"
    ):
        numbers(stored, "grades", "here")
    with pytest.raises(DataError, match="did you mean 'answer'"):
        text_lengths(stored, ["answr"], "here")
