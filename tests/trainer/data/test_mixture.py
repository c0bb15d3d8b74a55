"""Mixtures: the shares hold at every point, each source is read in its own order, and ends are as said."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.data.mixture import Mixture, Until
from gristmill.trainer.data.packs import plan_steps


def mixture(source_of: list[int], weights: list[float], until: Until = "first_exhausted") -> Mixture:
    return Mixture([f"source_{number}" for number in range(len(weights))], weights, source_of, until)


def order(
    mixed: Mixture, lengths: list[int], *, epochs: int = 1, seed: int = 0, shuffle: bool = True
) -> list[int]:
    """The examples in the order of the steps, each step with one example."""
    found = plan_steps(
        lengths, epochs=epochs, seed=seed, capacity=999, batch_tokens=1, shuffle=shuffle, mixture=mixed
    )
    return [example for ((example,),) in found]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40)), min_size=3, max_size=60),
    st.tuples(*[st.floats(0.1, 5)] * 3),
)
def test_the_shares_of_the_tokens_hold_at_every_point(
    rows: list[tuple[int, int]], weights: tuple[float, float, float]
) -> None:
    rows = [(0, 3), (1, 3), (2, 3), *rows]
    lengths = [length for _, length in rows]
    mixed = mixture([source for source, _ in rows], list(weights), "all_exhausted")
    tokens = [0, 0, 0]
    for example in order(mixed, lengths):
        source = rows[example][0]
        # What is drawn next lacks most: no source is ahead of another by more than its own last row.
        assert tokens[source] / weights[source] <= min(t / w for t, w in zip(tokens, weights)) + 1e-9
        tokens[source] += lengths[example]
    assert set(order(mixed, lengths)) == set(range(len(rows)))


def test_it_ends_with_the_first_source_or_when_all_were_read() -> None:
    source_of, lengths = [0] * 10 + [1] * 40, [1] * 50
    first = order(mixture(source_of, [1, 1]), lengths)
    assert [sum(source_of[each] == source for each in first) for source in (0, 1)] == [10, 10]
    whole = order(mixture(source_of, [1, 1], "all_exhausted"), lengths)
    assert sorted(whole) == sorted(list(range(10)) * 4 + list(range(10, 50)))
    twice = order(mixture(source_of, [1, 3]), lengths, epochs=2)
    assert len(twice) == 20 + 60 - 1 or len(twice) == 80
    assert len(set(twice)) == 50  # the second pass begins where the first one ended


def test_a_source_keeps_its_order_or_has_a_new_one_in_each_pass() -> None:
    source_of, lengths = [0] * 8 + [1] * 8, [1] * 16
    kept = order(mixture(source_of, [1, 1], "all_exhausted"), lengths, shuffle=False)
    assert kept == [each for pair in zip(range(8), range(8, 16)) for each in pair]
    mixed = mixture(source_of, [1, 1])
    shuffled = [each for each in order(mixed, lengths, epochs=2) if each < 8]
    assert sorted(shuffled[:8]) == sorted(shuffled[8:]) == list(range(8))
    assert shuffled[:8] != shuffled[8:]
    assert order(mixed, lengths) == order(mixed, lengths)
    assert order(mixed, lengths) != order(mixed, lengths, seed=1)


def example(name: str, row: int, length: int = 2) -> Example:
    return Example(name, (TokenSequence((1,) * length, (False, *[True] * (length - 1))),), row=row)


def test_what_was_drawn_is_told_by_source() -> None:
    ids = pa.DictionaryArray.from_arrays(pa.array([0, 1, 1], pa.int32()), ["wiki", "code"])
    table = pa.table({"_id": ["a", "b", "c"], "_input": ids})
    examples = [example("a", 0, 6), example("b", 1), example("b", 1), example("c", 2)]
    mixed = Mixture.of(table, examples, (3, 1), "first_exhausted")
    assert mixed.drawn([[[0], [1]]], examples) == {
        "wiki": {"rows": 1, "tokens": 6, "share": 0.75, "passes": 1.0},
        "code": {"rows": 1, "tokens": 2, "share": 0.25, "passes": pytest.approx(1 / 3)},
    }
    with pytest.raises(DataError, match="mix: no row of 'code' can be trained on"):
        Mixture.of(table, examples[:1], (3, 1), "first_exhausted")


def test_a_row_in_two_sources_counts_for_each() -> None:
    ids = pa.DictionaryArray.from_arrays(pa.array([0, 0, 1, 1], pa.int32()), ["kept", "replay"])
    table = pa.table({"_id": ["a", "b", "a", "b"], "_input": ids})
    examples = [example("a", 0), example("b", 1), example("b", 1), example("a", 2)]
    assert Mixture.of(table, examples, (3, 1), "first_exhausted").source_of == [0, 0, 0, 1]
