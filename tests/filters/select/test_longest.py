from __future__ import annotations

from typing import Any

import pytest

from gristmill.contracts.errors import DataError
from gristmill.filters.select.longest import SelectLongest


def test_the_longest_are_kept_and_ties_go_to_the_earlier(context: Any, rows: Any) -> None:
    result = SelectLongest(rows=2).apply(rows(response=["äb", "abcd", None, "xy", "z"]), context)
    assert result.kept.tolist() == [True, True, False, False, False]
    assert result.score.tolist() == [2, 4, 0, 2, 1]
    assert result.summary == {"shortest_chosen": 2}


def test_lengths_of_several_columns_add_up(context: Any, rows: Any) -> None:
    table = rows(prompt=["aaa", "a", "aa"], response=["b", "bbbbb", "b"])
    assert SelectLongest(rows=1, columns=("prompt", "response")).apply(table, context).kept.tolist() == [
        False, True, False,
    ]  # fmt: skip


def test_numbers_are_one_clear_error(context: Any, rows: Any) -> None:
    with pytest.raises(DataError, match="needs text in the column 'response', which holds int64"):
        SelectLongest(rows=1).apply(rows(response=[1]), context)
