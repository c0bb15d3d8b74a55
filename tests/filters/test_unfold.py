from __future__ import annotations

import asyncio
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from gristmill.contracts import registry
from gristmill.contracts.outcomes import Failed, Filtered, Kept
from gristmill.filters.unfold import Unfold
from gristmill.pipelines.run.outcomes import from_outcomes


def unfolded(operator: Unfold, *rows: dict[str, Any]) -> list[list[Any]]:
    return asyncio.run(operator.open(None)(list(rows)))  # type: ignore[arg-type]


def test_an_entry_is_a_row_and_all_columns_of_it_go_together() -> None:
    operator = Unfold(columns={"critique": ("c1", "c2", "c3"), "gain": ("g1", "g2", "g3")})
    row = {
        "_id": "r",
        "c1": "good",
        "g1": 0.5,
        "c2": None,
        "g2": None,
        "c3": "bad",
        "g3": None,
        "question": "?",
    }
    [found] = unfolded(operator, row)
    assert found == [
        Kept({"critique": "good", "gain": 0.5, "item": 0}),
        Filtered("null", row={"critique": None, "gain": None, "item": 1}),
        Kept({"critique": "bad", "gain": None, "item": 2}),
    ]
    assert operator.estimate(5).rows == 15
    table = from_outcomes(
        pa.Table.from_pylist([row]),
        [row],
        [found],
        fingerprint="f",
        makes_rows=True,
        types=operator.types(),
    )
    assert len(set(table["_id"].to_pylist())) == 3
    assert table["question"].to_pylist() == ["?"] * 3
    assert table["critique"].to_pylist() == ["good", None, "bad"]


def test_a_column_may_give_way_to_what_is_unfolded_from_it() -> None:
    [found] = unfolded(Unfold(columns={"code": ("code", "other")}), {"_id": "r", "code": "a", "other": "b"})
    assert [outcome.row["code"] for outcome in found] == ["a", "b"]


def test_a_row_without_a_column_fails_alone() -> None:
    operator = Unfold(columns={"x": ("a", "b")})
    bad, good = unfolded(operator, {"_id": "r", "a": 1}, {"_id": "s", "a": 1, "b": 2})
    assert bad == [Failed("column 'b' is missing")]
    assert [outcome.row["x"] for outcome in good] == [1, 2]


@pytest.mark.parametrize(
    "columns", [{"x": ("a",), "y": ("b", "c")}, {"item": ("a",)}, {"_id": ("a",)}, {"x": ()}, {}]
)
def test_lists_of_one_length_under_names_that_are_free(columns: Any) -> None:
    with pytest.raises(ValidationError):
        Unfold(columns=columns)


def test_a_file_gives_the_columns_as_the_verbs_value() -> None:
    assert registry.find("unfold", {"x": ["a", "b"]}) is Unfold
