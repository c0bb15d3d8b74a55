from __future__ import annotations

from math import nan
from typing import Any

import pytest

from gristmill.contracts.errors import DataError
from gristmill.filters.score.group_mean import GroupMean


def test_each_row_gets_the_mean_of_its_group_and_the_rows_that_count(context: Any, rows: Any) -> None:
    table = rows(
        cluster=[0, 1, 0, 1, 2, 0, None, None],
        language=["a", "a", "a", "a", "a", "b", "a", "a"],
        gain=[1.0, 10.0, 3.0, None, nan, 8.0, 4.0, 6.0],
    )
    made = GroupMean(by="gain", group=("cluster",)).apply(table, context).columns
    assert made["group_mean"].to_pylist() == [4.0, 10.0, 4.0, 10.0, None, 4.0, 5.0, 5.0]
    assert made["group_rows"].to_pylist() == [3, 1, 3, 1, 0, 3, 2, 2]
    both = GroupMean(by="gain", group=("cluster", "language"), prefix="gain_").apply(table, context).columns
    assert both["gain_group_mean"].to_pylist() == [2.0, 10.0, 2.0, 10.0, None, 8.0, 5.0, 5.0]
    assert both["gain_group_rows"].to_pylist() == [2, 1, 2, 1, 0, 1, 2, 2]


def test_without_group_columns_all_rows_are_one(context: Any, rows: Any) -> None:
    made = GroupMean(by="passed", group=()).apply(rows(passed=[True, False, False, True]), context).columns
    assert made["group_mean"].to_pylist() == [0.5] * 4


def test_no_rows(context: Any, rows: Any) -> None:
    result = GroupMean(by="gain", group=("cluster",)).apply(rows(cluster=[], gain=[]), context)
    assert {name: len(column) for name, column in result.columns.items()} == {
        "group_mean": 0, "group_rows": 0
    }  # fmt: skip


def test_text_is_not_averaged(context: Any, rows: Any) -> None:
    with pytest.raises(DataError, match="score: group_mean needs numbers; the column 'gain' holds string"):
        GroupMean(by="gain", group=()).apply(rows(gain=["much"]), context)
