from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gristmill.filters.select.random import RandomSelect, draw

ids = st.lists(st.text("abcdef0123456789", min_size=1, max_size=8), unique=True, max_size=40)


# The context is only read (or set anew) by each example.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=ids, wanted=st.integers(1, 50))
def test_as_many_as_asked_for_and_the_lowest_draws(context: Any, names: list[str], wanted: int) -> None:
    result = RandomSelect(rows=wanted).apply(pa.table({"_id": pa.array(names, pa.string())}), context)
    assert int(result.kept.sum()) == min(wanted, len(names))
    kept, left = result.score[result.kept], result.score[~result.kept]
    assert not len(left) or kept.max() <= left.min()


@given(ids, st.randoms())
def test_a_row_keeps_its_draw_whatever_stands_beside_it(names: list[str], random: Any) -> None:
    alone = dict(zip(names, draw(names, 5)))
    mixed = random.sample(names, len(names))
    assert dict(zip(mixed, draw(mixed, 5))) == alone


def test_draws_are_uniform_and_depend_on_the_seed() -> None:
    names = [f"{i:020x}" for i in range(20_000)]
    one, two = draw(names, 1), draw(names, 2)
    counts = np.histogram(one, bins=20, range=(0, 1))[0]
    assert ((one >= 0) & (one < 1)).all()
    assert counts.min() > 850
    assert counts.max() < 1150
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.03


def test_none_is_not_a_number_of_rows() -> None:
    with pytest.raises(ValidationError):
        RandomSelect(rows=0)
    assert RandomSelect(rows=7).estimate(100).rows == 7


def test_each_group_gives_its_own_rows(context: Any, rows: Any) -> None:
    table = rows(prompt=["a", "b", "a", "a", "b", "c"])
    kept = RandomSelect(rows=1, group=("prompt",)).apply(table, context).kept
    assert sorted(table.filter(kept)["prompt"].to_pylist()) == ["a", "b", "c"]
    # A row's draw does not depend on the group.
    draws = RandomSelect(rows=1).apply(table, context).score
    assert draws[[0, 2, 3]].min() == draws[kept][0]


def test_weights_are_probabilities_of_the_first_draw_and_of_the_rest(context: Any) -> None:
    # Rows with weights 1, 2 and 5 in 4,000 groups: the chance to be drawn in two draws without replacement.
    weights, groups = np.array([1.0, 2.0, 5.0]), 4_000
    table = pa.table(
        {
            "_id": [f"{i:020x}" for i in range(3 * groups)],
            "group": np.repeat(np.arange(groups), 3),
            "worth": np.tile(weights, groups),
        }
    )
    shares = weights / weights.sum()
    for drawn in (1, 2):
        step = RandomSelect(rows=drawn, group=("group",), weight="worth")
        found = step.apply(table, context).kept.reshape(groups, 3).mean(axis=0)
        expected = shares if drawn == 1 else [
            shares[i] + sum(shares[j] * shares[i] / (1 - shares[j]) for j in range(3) if j != i)
            for i in range(3)
        ]  # fmt: skip
        np.testing.assert_allclose(found, expected, atol=0.025)


def test_a_row_without_a_positive_weight_is_never_drawn(context: Any, rows: Any) -> None:
    table = rows(worth=[None, float("nan"), 0.0, -1.0, 5e-324, 5.0])
    result = RandomSelect(rows=6, weight="worth").apply(table, context)
    assert result.kept.tolist() == [False] * 4 + [True] * 2
    assert list(result.rule) == ["weightless"] * 4 + [None] * 2
    assert np.isnan(result.score[:4]).all()


def test_equal_weights_give_the_choice_without_weights(context: Any, rows: Any) -> None:
    table = rows(worth=[3] * 50)
    plain, weighed = (RandomSelect(rows=20, weight=w).apply(table, context).kept for w in (None, "worth"))
    assert plain.tolist() == weighed.tolist()


def test_a_weighted_choice_does_not_depend_on_the_order_of_rows(context: Any, rows: Any) -> None:
    table = rows(worth=[n % 7 for n in range(60)])
    step = RandomSelect(rows=20, weight="worth")
    backwards = table.take(np.arange(59, -1, -1))
    chosen = [set(t.filter(step.apply(t, context).kept)["_id"].to_pylist()) for t in (table, backwards)]
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 20
