"""New columns from expressions: every type, independent of the partition and of other rows."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gristmill.contracts.errors import DataError
from gristmill.filters.expressions.compute import Compute, computed


def test_columns_of_every_kind(context: Any) -> None:
    table = pa.table({"_id": ["x", "y"], "a": [1.0, None], "b": [0.25, 0.5], "s": [{"k": "v"}, {"k": "w"}]})
    operator = Compute(
        columns={"gain": "a - b", "up": "upper(s.k)", "known": "a IS NOT NULL", "both": "struct_pack(p := b)"}
    )
    made = operator.open(context)(table).columns
    assert {name: column.to_pylist() for name, column in made.items()} == {
        "gain": [0.75, None],
        "up": ["V", "W"],
        "known": [True, False],
        "both": [{"p": 0.25}, {"p": 0.5}],
    }


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=30), st.integers(0, 30))
def test_any_partition_gives_the_same_rows(values: list[int], cut: int) -> None:
    table = pa.table({"n": values})
    whole = computed(table, {"m": "n * 2 + 1"}).columns["m"].to_pylist()
    parts = [table.slice(0, cut), table.slice(cut)]
    assert whole == [v for part in parts for v in computed(part, {"m": "n * 2 + 1"}).columns["m"].to_pylist()]
    assert whole == [2 * value + 1 for value in values]


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("sum(n)", "looks at other rows"),
        ("avg(n) OVER ()", "looks at other rows"),
        ("m + 1", "no column 'm'"),
        ("n; DROP TABLE rows", "not a DuckDB SQL expression"),
        ("(SELECT 1)", "no sub-query"),
        ("random()", "random"),
    ],
)
def test_what_cannot_be_computed_is_told(expression: str, told: str) -> None:
    with pytest.raises(DataError, match="compute") as caught:
        computed(pa.table({"n": [1], "t": ["x"]}), {"q": expression})
    assert told in str(caught.value)


def test_the_runners_own_columns_are_refused() -> None:
    with pytest.raises(ValidationError, match="reserved for the runner"):
        Compute(columns={"_id": "1"})


def test_a_date_without_its_word_is_refused_with_the_fix() -> None:
    with pytest.raises(ValidationError, match="must be written as DATE '2024-01-01': SQL would"):
        Compute(columns={"day": "2024-01-01"})


def test_values_of_a_file_are_expressions(context: Any) -> None:
    given: Any = {"n": 1, "x": -0.5, "yes": True, "big": 12_345_678_901, "small": 1e-9}
    made = Compute(columns=given).open(context)(pa.table({"_id": ["a"]})).columns
    assert {name: column[0].as_py() for name, column in made.items()} == given
    for wrong in (None, float("inf"), float("nan"), [], "2024-01-01", " 2024-1-31 "):
        with pytest.raises(ValidationError):
            Compute(columns={"n": wrong})  # type: ignore[dict-item]
