"""NaN counts as null in every condition and comparison, regardless of its origin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gristmill.contracts.stored_rows import TableRows
from gristmill.filters.columns import without_nan
from gristmill.filters.dedup.exact import ExactDedup
from gristmill.filters.expressions.compute import computed
from gristmill.filters.expressions.condition import evaluate_expression
from gristmill.filters.select.best import SelectBest
from gristmill.filters.select.groups import group_labels
from gristmill.filters.select.vote import Vote

NAN, INF = float("nan"), float("inf")
TABLE = pa.table(
    {
        "a": [0, 1, -1, 2],
        "f": [NAN, 1.0, 0.0, INF],
        "t": ["nan", "1", "x", "2"],
        "list": [[NAN, 1.0], [2.0], None, []],
        "s": [{"d": NAN}, {"d": 3.0}, None, {"d": 1.0}],
        "m": pa.array([[("k", NAN)], [("k", 2.0)], None, []], pa.map_(pa.string(), pa.float64())),
        "deep": pa.array([[{"x": NAN}], [{"x": 2.0}], None, []]),
        "v": [[0.0, 0.0], [1.0, 0.0], None, [1.0, 1.0]],
    }
)


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("a/0 > 1", [1, 3]),
        ("NOT (a/0 < 1)", [1, 3]),
        ("0.0 / a > -1", [1, 2, 3]),
        ("f - f > 1", []),
        ("f * 0 > -1", [1, 2]),
        ("f % 0::DOUBLE >= 0", []),
        ("TRY_CAST(t AS DOUBLE) > 0", [1, 3]),
        ("'nan'::DOUBLE > 1", []),
        ("list[1] > 1", [1]),
        ("list_max(list) > 1", [1]),
        ("s.d > 0", [1, 3]),
        ("m['k'] > 1", [1]),
        ("deep[1].x > 1", [1]),
        ("greatest(a/0, 5) = 5", [0, 2]),
        ("coalesce(a/0, 5) = 5", [0]),
        ("a/0 IS NULL", [0]),
        ("a/0 IN ('nan'::DOUBLE)", []),
        ("a/0 BETWEEN 1 AND 'nan'::DOUBLE", []),
        ("CASE WHEN a = 0 THEN a/0 ELSE 0 END > 1", []),
        ("round(a/0, 1) > 1", [1, 3]),
        ("list_max([a/0, 0.5]) > 1", [1, 3]),
        ("list_max(list_transform([1, 2], lambda y: a/0)) > 1", [1, 3]),
        ("row_number() OVER (ORDER BY a/a DESC, a) = 1", [2]),
        ("avg(a/a) OVER () = 1", [0, 1, 2, 3]),
        ("a * 0 / avg(a * 0) OVER () > 1", []),
        ("a/a >= quantile(0.0)", [1, 2, 3]),
        ("a > quantile(a/a, 0.5)", [3]),
        ("isnan(f) OR isnan(a/0)", []),
        ("(a/0)::VARCHAR = 'nan'", []),
        ("t = 'nan'", [0]),  # a text is a text
        ("f > 1", [3]),  # infinity is a number
        (f"{'abs(' * 30}a/0{')' * 30} > 1", [1, 2, 3]),
    ],
)
def test_a_condition_never_keeps_a_row_for_a_nan(expression: str, kept: list[int]) -> None:
    decision = evaluate_expression(TABLE, expression)
    assert np.flatnonzero(decision.mask).tolist() == kept
    if expression == "a/0 > 1":
        assert decision.rules == ["null", None, "(a / 0) > 1", None]


def test_a_computed_nan_is_null_in_lists_and_structures_too() -> None:
    wanted = {
        "a/0": [None, INF, -INF, INF],
        "f": [None, 1.0, 0.0, INF],
        "[f]": [[None], [1.0], [0.0], [INF]],
        "{'x': f - f}": [{"x": None}, {"x": 0.0}, {"x": 0.0}, {"x": None}],
        "list": [[None, 1.0], [2.0], None, []],
        "TRY_CAST(t AS DOUBLE)": [None, 1.0, None, 2.0],
    }
    made = computed(TABLE, {f"c{number}": text for number, text in enumerate(wanted)}).columns
    assert [column.to_pylist() for column in made.values()] == list(wanted.values())


def test_columns_without_nan_are_left_as_they_are() -> None:
    cleaned = without_nan(TABLE)
    assert cleaned["s"].to_pylist() == [{"d": None}, {"d": 3.0}, None, {"d": 1.0}]
    assert cleaned["m"].to_pylist() == [[("k", None)], [("k", 2.0)], None, []]
    assert cleaned["v"].equals(TABLE["v"])
    assert without_nan(TABLE.slice(1)).equals(TABLE.slice(1))
    assert cleaned.schema == TABLE.schema


def test_a_nan_neither_votes_nor_wins_nor_makes_a_group_of_its_own(rows: Any, context: Any) -> None:
    table = rows(prompt=["p"] * 3, found=[NAN, NAN, 1.0], score=[NAN, 0.1, 0.2])
    vote = Vote().apply(table, context)
    assert vote.columns["votes"].to_pylist() == [None, None, 1]
    assert SelectBest(by="score").apply(table, context).kept.tolist() == [False, False, True]
    assert group_labels(TableRows(rows(x=[NAN, None, NAN, 1.0])), ["x"], "here").tolist() == [0, 0, 0, 1]


def test_nan_equals_null_in_exact_duplicates(rows: Any, context: Any) -> None:
    table = rows(t=["a", "a", "a", "b"], x=[NAN, None, 1.0, NAN])
    assert ExactDedup(columns=("t", "x")).apply(table, context).kept.tolist() == [True, False, True, True]
    assert ExactDedup(columns=("x",)).apply(table, context).kept.all()
