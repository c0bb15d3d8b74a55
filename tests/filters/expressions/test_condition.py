from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.filters.expressions.condition import check, evaluate_expression

TABLE = pa.table(
    {
        "passed": [True, True, False, None, True],
        "score": [1.0, 2.0, 3.0, 4.0, float("nan")],
        "count": pa.array([1, 2, 3, 4, 5], pa.int32()),
        "text": ["a", "quantile(0.2)", None, "d AND e", "f -- g"],
        "nested": [{"depth": i} for i in range(5)],
        "list": [[1, 2]] * 5,
    }
)


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("passed", [0, 1, 4]),
        ("NOT passed", [2]),
        ("passed AND score > 1", [1]),
        ("score > quantile(0.5)", [2, 3]),
        ("quantile(0.5) < score", [2, 3]),
        ("score BETWEEN quantile(0.1) AND 3", [1, 2]),
        ("count > quantile(0.5)", [3, 4]),
        ("count + 1 > quantile(0.5) -- and so on", [3, 4]),
        ("score > quantile(count, 0.5)", [3]),
        ("text = 'quantile(0.2)'", [1]),
        ("text LIKE '% AND %' OR text = 'f -- g'", [3, 4]),
        ("nested.depth >= 3", [3, 4]),
        ("len(list_filter(list, lambda y: y > 1)) = 1 AND count = 1", [0]),
        ("score > avg(score) OVER ()", [2, 3]),
        ("row_number() OVER (ORDER BY count DESC) <= 2", [3, 4]),
        ("COUNT IN (2, 3)", [1, 2]),
        ("NULL", []),
        ("/* a */ passed /* or ) b */ -- ) or (", [0, 1, 4]),
        ("text = 'a) or (b' OR text = $$a$$", [0]),
    ],
)
def test_keeps_what_sql_says(expression: str, kept: list[int]) -> None:
    assert np.flatnonzero(evaluate_expression(TABLE, expression).mask).tolist() == kept


def test_a_rule_is_the_first_part_that_is_false_and_null_where_none_is() -> None:
    decision = evaluate_expression(TABLE, "passed AND (score > quantile(0.2) AND count < 5)")
    assert decision.rules == ["score > quantile(0.2)", None, "passed", "null", "count < 5"]
    assert decision.summary["failed"] == {"passed": 1, "score > quantile(0.2)": 1, "count < 5": 1, "null": 1}
    assert decision.summary["rate"] == 0.2
    assert decision.summary["thresholds"] == {"score": pytest.approx(1.6), "count": 5.0}


def test_bounds_name_every_number_a_column_is_held_against() -> None:
    summary = evaluate_expression(TABLE, "score BETWEEN 1 AND quantile(0.9) OR 2 < count").summary
    assert summary["bounds"] == [
        {"column": "score", "op": ">=", "value": 1.0},
        {"column": "score", "op": "<=", "value": pytest.approx(3.7)},
        {"column": "count", "op": ">", "value": 2.0},
    ]
    assert summary["thresholds"] == {"score": 1.0, "count": 2.0}


@pytest.mark.parametrize(
    ("expression", "operator"),
    [
        ("count > 2", ">"), ("count >= 2", ">="), ("count < 2", "<"), ("count <= 2", "<="),
        ("count = 2", "="), ("2 > count", "<"), ("2 >= count", "<="), ("2 < count", ">"),
        ("2 <= count", ">="), ("2 = count", "="),
    ],
)  # fmt: skip
def test_a_bound_reads_from_the_column_to_the_number(expression: str, operator: str) -> None:
    summary = evaluate_expression(TABLE, expression).summary
    assert summary["bounds"] == [{"column": "count", "op": operator, "value": 2.0}]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "needs an expression"),
        ("score >", "not a DuckDB SQL expression"),
        ("scor > 1", "did you mean 'score'"),
        ('text = "other"', "single quotes"),
        ("score + 1", "is DOUBLE, not true or false"),
        ("score > 1; DROP TABLE rows", "not a DuckDB SQL expression"),
        ("true) AS a, (false", "one expression"),
        ("true) FROM rows UNION SELECT (true", "one expression"),
        ("true) or (true", "one expression"),
        ("score) > (1", "one expression"),
        ("true\n) or (\ntrue", "one expression"),
        ("count, score", "one expression"),
        ("true) AND EXISTS (SELECT 1 FROM rows", "one expression"),
        ("FROM rows", "one expression"),
        ("VALUES (1)", "one expression"),
        ("true) /*", "unterminated"),
        ("true) --", "syntax error"),
        ("true;", "syntax error"),
        ("score > 1 AND (passed", "syntax error"),
        ("score AS s", "syntax error"),
        ("score s", "syntax error"),
        ("true ORDER BY score", "syntax error"),
        ("true LIMIT 1", "syntax error"),
        ("true) WHERE (true", "syntax error"),
        ("DISTINCT score", "syntax error"),
        ("(FROM rows)", "no sub-query"),
        ("score > ALL (SELECT 1)", "no sub-query"),
        ("#1 > 0", "not by their number"),
        ("error('boom')", "error() gives no value"),
        ("pg_sleep(10)", "pg_sleep() only waits"),
        ("count IN (SELECT 1)", "no sub-query"),
        ("EXISTS (FROM read_csv('/etc/passwd'))", "no sub-query"),
        ("random() > 0.5", "random() does not"),
        ("current_setting('threads') = '1'", "current_setting() does not"),
        ("COLUMNS(*) > 1", "by name"),
        ("score > quantile(2)", "a number from 0 to 1"),
        ("score > 1 OR quantile(0.5)", "must be compared"),
        ("score > avg(score)", "OVER ()"),
        ("text::INT > 1", "Could not convert"),
        ("nope(score)", "nope"),
    ],
)
def test_refuses_with_one_clear_error(expression: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        evaluate_expression(TABLE, expression)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_function_reads_or_writes_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("hidden")
    for expression in (
        f"read_text('{secret}') = 'hidden'",
        f"getenv('{secret}') = ''",
        f"len(glob('{secret}')) > 0",
    ):
        with pytest.raises(DataError):
            evaluate_expression(TABLE, expression)


def test_check_looks_at_the_syntax_alone() -> None:
    check("any_column > quantile(0.3) AND other")
    with pytest.raises(DataError, match="not a DuckDB SQL expression"):
        check("any_column >")


@given(
    st.lists(st.one_of(st.none(), st.floats(-5, 5), st.just(float("nan"))), min_size=1, max_size=30),
    st.floats(0, 1),
)
def test_quantiles_agree_with_numpy(values: list[float | None], share: float) -> None:
    table = pa.table({"x": pa.array(values, pa.float64())})
    known = np.array([v for v in values if v is not None and not np.isnan(v)])
    decision = evaluate_expression(table, f"x >= quantile({share!r})")
    if not len(known):
        assert not decision.mask.any()
        return
    threshold = decision.summary["thresholds"]["x"]
    assert threshold == pytest.approx(np.quantile(known, share), abs=1e-9)
    wanted = [v is not None and not np.isnan(v) and v >= threshold for v in values]
    assert decision.mask.tolist() == wanted
    assert [rule is None for rule in decision.rules] == wanted


@pytest.mark.parametrize("expression", ["x < quantile(0.5)", "x <= quantile(0.5)", "x > quantile(0.5)"])
def test_a_quantile_between_infinities_is_null(expression: str) -> None:
    decision = evaluate_expression(pa.table({"x": [float("-inf"), float("inf")]}), expression)
    assert decision.rules == ["null", "null"]
    assert decision.summary["bounds"] == []


def test_an_empty_table_is_judged_too() -> None:
    decision = evaluate_expression(TABLE.slice(0, 0), "passed AND score > quantile(0.2)")
    assert len(decision.mask) == 0
    assert decision.summary["rate"] == 0.0
