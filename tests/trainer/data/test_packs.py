"""Packs hold every row once and within the capacity; steps depend on the seed and not on the capacity."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.trainer.data.packs import pack, plan_steps

LENGTHS = st.lists(st.integers(1, 50), max_size=60)


@settings(max_examples=80, deadline=None)
@given(LENGTHS, st.integers(50, 120))
def test_every_row_is_in_one_pack_within_capacity(lengths: list[int], capacity: int) -> None:
    packs = pack(lengths, capacity)
    assert sorted(index for indices in packs for index in indices) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in indices) <= capacity for indices in packs)
    fewest = math.ceil(sum(lengths) / capacity)
    # No two packs can be merged, so all except one are more than half full.
    assert len(packs) <= max(1, 2 * fewest)


def test_takes_the_fullest_pack_that_has_room() -> None:
    assert pack([6, 5, 4, 3, 2], 10) == [[0, 2], [1, 3, 4]]


def test_refuses_a_row_over_capacity() -> None:
    with pytest.raises(ValueError, match="11 tokens does not fit a pack of 10"):
        pack([11], 10)


@settings(max_examples=60, deadline=None)
@given(LENGTHS.filter(bool), st.integers(0, 9), st.integers(1, 200), st.one_of(st.none(), st.integers(1, 7)))
def test_each_epoch_trains_on_every_row_once(
    lengths: list[int], seed: int, batch_tokens: int, batch_rows: int | None
) -> None:
    def steps(capacity: int) -> list[list[list[int]]]:
        return plan_steps(
            lengths, epochs=2, seed=seed, capacity=capacity, batch_tokens=batch_tokens, batch_rows=batch_rows
        )

    found = steps(64)
    flat = [sorted(index for packed in packs for index in packed) for packs in found]
    assert sorted(index for rows in flat for index in rows) == sorted(list(range(len(lengths))) * 2)
    for rows in flat:
        if batch_rows:
            assert len(rows) <= batch_rows
        else:
            assert len(rows) == 1 or sum(lengths[row] for row in rows) <= batch_tokens
    assert flat == [sorted(index for packed in packs for index in packed) for packs in steps(50)]
    assert found == steps(64)


def test_epochs_and_seeds_shuffle_differently() -> None:
    def order(seed: int) -> list[int]:
        steps = plan_steps([1] * 30, epochs=2, seed=seed, capacity=8, batch_tokens=1)
        return [packs[0][0] for packs in steps]

    assert order(1)[:30] != order(1)[30:]
    assert order(1) != order(2)
