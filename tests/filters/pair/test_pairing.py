"""Pairs of positions: exactly those with a sufficient margin, in the order of the strategy."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.filters.pair.pairing import Apart, best_worst, drawn, every

scores = st.lists(st.integers(0, 10).map(lambda tenth: tenth / 10), max_size=12).map(
    lambda values: sorted(values, reverse=True)
)
limits = st.none() | st.integers(0, 10).map(lambda tenth: tenth / 10)
aparts = st.builds(Apart, st.integers(0, 10).map(lambda tenth: tenth / 10), limits, limits)


def eligible(values: list[float], apart: Apart) -> set[tuple[int, int]]:
    """The definition, in whole tenths."""
    tenths = [round(value * 10) for value in values]
    return {
        (i, j)
        for i in range(len(values))
        for j in range(len(values))
        if tenths[i] > tenths[j]
        and tenths[i] - tenths[j] >= round(apart.margin * 10)
        and (apart.chosen is None or tenths[i] >= round(apart.chosen * 10))
        and (apart.rejected is None or tenths[j] >= round(apart.rejected * 10))
    }


@given(scores, aparts)
def test_every_pair_that_is_far_enough_apart(values: list[float], apart: Apart) -> None:
    found = list(every(values, apart))
    assert set(found) == eligible(values, apart)
    assert len(found) == len(set(found))
    widest = [(-values[better], values[worse]) for better, worse in found]
    assert [better for better, _ in widest] == sorted(better for better, _ in widest)


@given(scores, aparts)
def test_the_best_and_the_worst_once_each(values: list[float], apart: Apart) -> None:
    found = list(best_worst(values, apart))
    possible = eligible(values, apart)
    assert set(found) <= possible
    assert bool(found) is bool(possible)
    used = [place for pair in found for place in pair]
    assert len(used) == len(set(used))
    if found:
        assert values[found[0][0]] - values[found[0][1]] == max(values[i] - values[j] for i, j in possible)


@given(scores, aparts, st.none() | st.integers(1, 6), st.integers(0, 2**31))
def test_draws_are_among_all_without_repetition(
    values: list[float], apart: Apart, pairs: int | None, seed: int
) -> None:
    found = list(drawn(values, apart, pairs, seed))
    possible = eligible(values, apart)
    assert set(found) <= possible
    assert len(found) == len(set(found)) == min(len(possible), pairs or len(possible))
    assert found == list(drawn(values, apart, pairs, seed))


def test_ties_go_to_the_earlier_row() -> None:
    assert next(best_worst([1, 0, 0], Apart())) == (0, 1)
    assert list(best_worst([2, 1, 1, 0, 0], Apart())) == [(0, 3), (1, 4)]
    assert list(every([1, 0.5, 0, 0], Apart())) == [(0, 2), (0, 3), (0, 1), (1, 2), (1, 3)]
    assert list(every([1, 0.5, 0.5, 0], Apart(rejected=0.5))) == [(0, 1), (0, 2)]


def test_each_pair_is_drawn_as_often() -> None:
    values = [1.0, 0.8, 0.4, 0.0]
    counted = Counter(pair for seed in range(3000) for pair in drawn(values, Apart(0.4), 1, seed))
    assert set(counted) == eligible(values, Apart(0.4))
    assert min(counted.values()) > 0.8 * 3000 / len(counted)


def test_fractions_that_binary_numbers_miss_count_as_what_they_stand_for() -> None:
    assert 0.7 - 0.3 < 0.4
    assert Apart(0.4)(0.7, 0.3)
    assert not Apart(0.4)(0.7, 0.31)
    assert not Apart(0.0)(0.5, 0.5)


@pytest.mark.parametrize("strategy", [every, best_worst])
def test_many_scores_cost_no_table_of_pairs(strategy: object) -> None:
    values = [1 - place / 200_000 for place in range(200_000)]
    assert next(iter(strategy(values, Apart(0.5)))) == (0, 199_999)  # type: ignore[operator]
