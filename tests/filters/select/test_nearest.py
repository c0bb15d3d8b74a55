from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.filters.select.nearest import SelectNearest, round_robin

POOL = [
    "add the numbers of a list",
    "add all numbers of the list",
    "the best museums of Lisbon",
    "a poem about the sea",
    None,
]


def chosen(context: Any, make: Any, **settings: Any) -> list[str | None]:
    table = make(prompt=POOL)
    result = SelectNearest(towards="tasks", columns=("prompt",), **settings).apply(table, context)
    return [text for text, kept in zip(POOL, result.kept) if kept]


@pytest.mark.usefixtures("embedder")
def test_every_target_row_is_served_in_turns(context: Any, rows: Any) -> None:
    context.tables["tasks"] = rows(prompt=["add all numbers of a list", "museums in Lisbon"])
    assert chosen(context, rows, rows=2) == [POOL[1], POOL[2]]
    assert chosen(context, rows, rows=3)[:2] == POOL[:2]


@pytest.mark.usefixtures("embedder")
def test_the_highest_cosine_alone_may_serve_one_target_row(context: Any, rows: Any) -> None:
    context.tables["tasks"] = rows(prompt=["add the numbers of the list", "about museums"])
    assert chosen(context, rows, rows=2, take="max") == POOL[:2]
    assert chosen(context, rows, rows=99, take="mean") == POOL[:4]


@pytest.mark.usefixtures("embedder")
def test_the_summary_compares_the_choice_with_the_pool(context: Any, rows: Any) -> None:
    context.tables["tasks"] = rows(prompt=["add the numbers of the list"])
    result = SelectNearest(towards="tasks", columns=("prompt",), rows=2).apply(rows(prompt=POOL), context)
    assert result.summary["mean_score_of_chosen"] > result.summary["mean_score"]
    assert result.errors is not None
    assert "no text" in str(result.errors[4])


@pytest.mark.usefixtures("embedder")
def test_a_target_without_rows_is_one_clear_error(context: Any, rows: Any) -> None:
    context.tables["tasks"] = rows(prompt=[])
    with pytest.raises(DataError, match="the step 'tasks', which has none"):
        chosen(context, rows, rows=1)
    context.tables["tasks"] = rows(text=["x"])
    with pytest.raises(DataError, match=r"the step 'tasks' \(`target_columns`\) needs .* columns are: text$"):
        chosen(context, rows, rows=1)


@given(st.integers(0, 9), st.integers(1, 5), st.integers(1, 12), st.integers(0, 99))
def test_round_robin_is_that_of_one_turn_after_the_other(n: int, targets: int, rows: int, seed: int) -> None:
    cosines = np.random.default_rng(seed).integers(0, 4, (n, targets)).astype(np.float32)
    left, expected = set(range(n)), []
    while left and len(expected) < rows:
        column = cosines[:, len(expected) % targets]
        best = max(left, key=lambda row: (column[row], -row))
        left.remove(best)
        expected.append(best)
    assert round_robin(cosines, rows) == expected
