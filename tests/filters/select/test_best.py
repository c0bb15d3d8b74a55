from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.filters.select.best import SelectBest

scored = st.lists(
    st.tuples(st.sampled_from("abc"), st.none() | st.integers(-3, 3) | st.just(float("nan"))), max_size=30
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scored, st.integers(1, 4), st.booleans())
def test_no_row_that_goes_is_better_than_one_that_stays(
    context: Any, given: list[tuple[str, float | None]], wanted: int, ascending: bool
) -> None:
    values = [None if value is None else float(value) for _, value in given]
    table = pa.table(
        {
            "_id": pa.array([f"r{n}" for n in range(len(given))], pa.string()),
            "prompt": pa.array([group for group, _ in given], pa.string()),
            "score": pa.array(values, pa.float64()),
        }
    )
    result = SelectBest(by="score", rows=wanted, ascending=ascending).apply(table, context)
    for name in "abc":
        inside = [(n, values[n]) for n, (group, _) in enumerate(given) if group == name]
        known = [(n, value) for n, value in inside if value is not None and not np.isnan(value)]
        best = sorted(known, key=lambda pair: pair[1] if ascending else -pair[1])[:wanted]
        assert {n for n, _ in inside if result.kept[n]} == {n for n, _ in best}
        for n, value in inside:
            if not result.kept[n]:
                known_value = value is not None and not np.isnan(value)
                assert result.rule[n] == ("not_best" if known_value else "null")
                assert result.score[n] == value or not known_value
    assert result.summary["groups"] == len({group for group, _ in given})


def test_groups_may_be_of_several_columns_and_scores_true_or_false(context: Any, rows: Any) -> None:
    table = rows(prompt=["a", "a", "a"], style=["x", "x", "y"], passed=[False, True, False])
    result = SelectBest(group=("prompt", "style"), by="passed").apply(table, context)
    assert result.kept.tolist() == [False, True, True]


def test_a_column_without_a_value_is_null_whatever_its_type(context: Any, rows: Any) -> None:
    table = rows(prompt=["a", "b"], score=pa.array([None, None], pa.string()))
    result = SelectBest(by="score").apply(table, context)
    assert result.rule == ["null", "null"]


def test_texts_are_no_scores(context: Any, rows: Any) -> None:
    with pytest.raises(DataError, match="needs numbers"):
        SelectBest(by="prompt").apply(rows(prompt=["a"]), context)


def test_without_group_columns_all_rows_are_one_group(context: Any, rows: Any) -> None:
    table = rows(value=[0.1, 0.9, None, 0.5])
    result = SelectBest(group=(), by="value", rows=2).apply(table, context)
    assert result.kept.tolist() == [False, True, False, True]
    assert SelectBest(group=(), by="value", rows=2).estimate(4).rows == 2
