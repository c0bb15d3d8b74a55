from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.filters.select.groups import group_labels, members


def test_groups_are_numbered_as_they_come_and_a_null_equals_a_null(rows: Any) -> None:
    table = rows(a=["x", None, "y", None, "x"], b=[1, 1, 1, 1, 2])
    assert group_labels(table, ["a", "b"], "here").tolist() == [0, 1, 2, 1, 3]
    assert members(group_labels(table, ["a"], "here")) == [[0, 4], [1, 3], [2]]
    assert members(group_labels(table.slice(0, 0), ["a"], "here")) == []


def test_lists_and_unknown_columns_are_refused(rows: Any) -> None:
    with pytest.raises(DataError, match="'a' holds list"):
        group_labels(rows(a=pa.array([[1]])), ["a"], "here")
    with pytest.raises(DataError, match="did you mean 'prompt'"):
        group_labels(rows(prompt=["x"]), ["promt"], "here")
