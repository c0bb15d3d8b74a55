from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.filters.score.self_certainty import self_certainty


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def exact(distributions: list[np.ndarray]) -> list[float]:
    """Kang et al.'s definition over full log-distributions ``(positions, V)``."""
    return [float(-np.mean(d + np.log(d.shape[1]))) for d in distributions]


def table(distributions: list[np.ndarray], k: int) -> pa.Table:
    top = [[np.sort(p)[::-1][:k].tolist() for p in d] for d in distributions]
    return pa.table(
        {
            "top_logprobs": pa.array(top, pa.list_(pa.list_(pa.float32()))),
            "vocab_size": [d.shape[1] for d in distributions],
        }
    )


def draw(seed: int, scale: float, vocabulary: int = 64) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [log_softmax(rng.normal(0, scale, (n, vocabulary))) for n in (1, 5, 3)]


@given(st.integers(0, 10_000), st.floats(0.0, 4.0))
def test_with_the_whole_vocabulary_it_is_the_exact_value(seed: int, scale: float) -> None:
    full = draw(seed, scale)
    assert self_certainty(table(full, 64))["self_certainty"].to_pylist() == pytest.approx(
        exact(full), rel=1e-4, abs=1e-5
    )


@given(st.integers(0, 10_000), st.floats(0.0, 4.0))
def test_it_is_a_lower_bound_that_rises_with_k(seed: int, scale: float) -> None:
    full = draw(seed, scale)
    values = [
        np.array(self_certainty(table(full, k))["self_certainty"].to_pylist()) for k in (1, 5, 20, 50, 64)
    ]
    for fewer, more in pairwise(values):
        assert (fewer <= more + 1e-4).all()
    assert (values[0] >= -1e-5).all()


def test_the_bias_is_the_certainty_of_the_tail() -> None:
    full, k = draw(3, 2.0), 10
    estimated = self_certainty(table(full, k))["self_certainty"].to_pylist()
    for distribution, real, found in zip(full, exact(full), estimated):
        tail = np.sort(distribution, axis=1)[:, :-k]
        tail = tail - np.log(np.exp(tail).sum(axis=1, keepdims=True))
        missed = (64 - k) / 64 * exact([tail])[0]
        assert real - found == pytest.approx(missed, rel=1e-3)


def test_a_flat_prediction_has_none_and_a_sure_one_more() -> None:
    flat = log_softmax(np.zeros((2, 64)))
    sure = log_softmax(np.eye(64)[:2] * 9)
    low, high = self_certainty(table([flat, sure], 5))["self_certainty"].to_pylist()
    assert low == pytest.approx(0, abs=1e-6)
    assert high > 3


def test_a_mass_below_float32_still_gives_a_finite_number() -> None:
    top = [[[0.0, -17.0, -18.0]]]
    made = pa.table({"top_logprobs": pa.array(top, pa.list_(pa.list_(pa.float32()))), "vocab_size": [50_000]})
    [value] = self_certainty(made)["self_certainty"].to_pylist()
    assert 10 < value < 25


def test_tokens_of_no_probability_count_among_the_others() -> None:
    [full] = draw(1, 1.0)[:1]
    top = np.sort(full)[:, ::-1][:, :4].tolist()
    kind = pa.list_(pa.list_(pa.float32()))
    plain = pa.table({"top_logprobs": pa.array([top], kind), "vocab_size": [64]})
    padded = pa.table({"top_logprobs": pa.array([[[*p, -np.inf] for p in top]], kind), "vocab_size": [64]})
    assert self_certainty(padded)["self_certainty"].to_pylist() == pytest.approx(
        self_certainty(plain)["self_certainty"].to_pylist()
    )


def test_rows_without_what_it_needs_are_null_and_shift_no_others() -> None:
    full = draw(7, 1.0)
    whole = table(full, 8)
    top, sizes = whole.column(0).to_pylist(), whole.column(1).to_pylist()
    top = [None, top[0], [], top[1], [[]], top[2], top[0]]
    made = pa.table(
        {
            "top_logprobs": pa.chunked_array(
                [pa.array(part, pa.list_(pa.list_(pa.float32()))) for part in (top[:3], top[3:])]
            ),
            "vocab_size": [64, sizes[0], 64, sizes[1], 64, sizes[2], None],
        }
    )
    a, b, c = self_certainty(whole)["self_certainty"].to_pylist()
    assert self_certainty(made)["self_certainty"].to_pylist() == [None, a, None, b, None, c, None]


def test_a_missing_column_says_where_it_comes_from() -> None:
    with pytest.raises(DataError, match=r"logprobs.*'top_logprobs'"):
        self_certainty(pa.table({"response": ["a"]}))
    with pytest.raises(DataError, match="lists"):
        self_certainty(pa.table({"top_logprobs": [1.0], "vocab_size": [3]}))
