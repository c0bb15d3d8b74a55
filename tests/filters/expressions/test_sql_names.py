"""Names in an expression: columns, parameters of lambdas; and where a text stops being an expression."""

from __future__ import annotations

import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.filters.expressions.condition import check, check_types, columns_of, evaluate_expression

COLUMNS = ["prompt", "tags", "score", "j"]
TYPES = {"prompt": pa.string(), "tags": pa.list_(pa.string()), "score": pa.float64(), "j": pa.string()}


def _said(expression: str, columns: list[str] | None = COLUMNS) -> str:
    with pytest.raises(DataError) as caught:
        check(expression, columns)
    return str(caught.value)


@pytest.mark.parametrize(
    ("expression", "last"),
    [
        ("prompt >", ">"),
        ("(prompt", "(prompt"),
        ("score > 1 AND", "AND"),
        ("len(prompt", "len(prompt"),
        ("CASE WHEN score > 1 THEN 2", "2"),
        ("prompt IN (", "("),
        ("größe >", ">"),
    ],
)
def test_an_expression_that_ends_too_early_is_told_so(expression: str, last: str) -> None:
    told = _said(expression)
    assert f"it ends too early: a value or a closing bracket is missing after '{last}'" in told
    assert 'near "' not in told


def test_a_mistake_in_the_middle_is_told_with_what_is_before_it() -> None:
    assert "syntax error at or near \"score\", after 'prompt > 1'" in _said("prompt > 1 score")


@pytest.mark.parametrize("columns", [COLUMNS, None])
@pytest.mark.parametrize(
    "expression",
    [
        "len(list_filter(tags, x -> x = prompt)) > 0",
        "len(list_transform(tags, (x, i) -> x)) > 0",
        "list_reduce(tags, (x, i) -> x || i) = ''",
        "len(tags.list_filter(x -> x = 'a')) > 0",
    ],
)
def test_a_lambda_with_an_arrow_is_refused_with_the_fix(expression: str, columns: list[str] | None) -> None:
    names = "x, i" if "i)" in expression and "i) ->" in expression else "x"
    names = "i, x" if names == "x, i" else names
    assert f"write a lambda as 'lambda {names}: …'" in _said(expression, columns)


def test_the_arrow_reads_json_and_its_left_side_is_a_column() -> None:
    check("(j -> 'a') IS NOT NULL", COLUMNS)
    assert columns_of("(j -> 'a') IS NOT NULL", COLUMNS) == ["j"]
    assert "no column 'k'" in _said("(k -> 'a') IS NOT NULL")
    inside = "len(list_filter(tags, lambda x: (x::JSON -> 'a') IS NOT NULL)) > 0"
    check(inside, COLUMNS)
    table = pa.table({"tags": [['{"a": 1}'], ["{}"]]})
    assert evaluate_expression(table, inside).mask.tolist() == [True, False]


def test_the_parameter_of_a_lambda_is_known_inside_of_it_alone() -> None:
    check("len(list_filter(tags, lambda x: x = prompt)) > 0", COLUMNS)
    check("len(list_filter(tags, lambda x: len(list_filter(tags, lambda y: y = x)) > 0)) > 0", COLUMNS)
    assert "no column 'x'" in _said("len(list_filter(tags, lambda x: x = prompt)) > 0 AND x = 1")
    assert "no column 'nosuch'" in _said("len(list_filter(tags, lambda x: x = nosuch)) > 0")
    shadow = "len(list_filter(tags, lambda score: score = 'a')) > 0"
    check_types(shadow, TYPES)
    table = pa.table({"tags": [["a"], ["b"]], "score": [1.0, 2.0]})
    assert evaluate_expression(table, shadow).mask.tolist() == [True, False]


def test_types_are_checked_beside_a_lambda_whose_columns_are_not_known() -> None:
    with pytest.raises(DataError, match="abs"):
        check_types("len(list_filter(made, lambda x: x = 1)) > 0 AND abs(prompt) > 1", TYPES)
