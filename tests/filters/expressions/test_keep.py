from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gristmill.contracts.errors import DataError
from gristmill.filters.expressions.keep import Keep


def test_filters_with_the_part_that_failed(context: Any, rows: Any) -> None:
    result = Keep(keep=" good AND size < 3 ").apply(rows(good=[True, False, True], size=[1, 2, 3]), context)
    assert result.kept.tolist() == [True, False, False]
    assert result.rule == [None, "good", "size < 3"]
    assert result.summary["expression"] == "good AND size < 3"


def test_an_empty_expression_is_refused_when_the_file_is_read() -> None:
    with pytest.raises(ValidationError):
        Keep(keep="  ")


def test_an_unknown_column_is_named(context: Any, rows: Any) -> None:
    with pytest.raises(DataError, match=r"no column 'sise'.*did you mean 'size'"):
        Keep(keep="sise < 3").apply(rows(size=[1]), context)


@pytest.mark.parametrize(("written", "kept"), [(True, [True, True]), (False, [False, False])])
def test_a_boolean_of_a_file_is_a_condition(written: Any, kept: list[bool], context: Any, rows: Any) -> None:
    assert Keep(keep=written).apply(rows(size=[1, 2]), context).kept.tolist() == kept


@pytest.mark.parametrize("written", [1, 0.5, None, [], "2024-01-01"])
def test_what_is_no_condition_is_refused_when_the_file_is_read(written: Any) -> None:
    with pytest.raises(ValidationError):
        Keep(keep=written)
