from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.filters.embeddings import cosine
from gristmill.filters.embeddings.cosine import Cosines, nearest_cosine


def clumps(seed: int, n: int, d: int, centres: int, noise: float) -> np.ndarray:
    """Unit vectors around a few directions, so that many pairs are near any threshold."""
    rng = np.random.default_rng(seed)
    middle = rng.normal(size=(centres, d))
    vectors = middle[rng.integers(0, centres, n)] + noise * rng.normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def close(vectors: np.ndarray, threshold: float, left: np.ndarray, right: np.ndarray) -> dict:
    with ThreadPoolExecutor(2) as threads:
        found = Cosines(vectors, np.arange(len(vectors)), threshold, threads).close([(left, right)])
        return {
            (int(row), int(column)): float(value)
            for rows, columns, values in found
            for row, column, value in zip(rows, columns, values)
        }


@given(
    st.integers(0, 1000),
    st.integers(1, 60),
    st.sampled_from([8, 96]),
    st.floats(0.05, 1.5),
    st.floats(0.1, 1),
)
def test_the_pairs_that_reach_the_threshold_are_those_and_only_those(
    seed: int, n: int, d: int, noise: float, threshold: float
) -> None:
    vectors = clumps(seed, n, d, 6, noise)
    exact = vectors.astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    cosines = np.round(exact @ exact.T, 9)
    if (np.abs(cosines - threshold) < 1e-8).any():
        return
    left, right = np.arange(n), np.arange(0, n, 2)
    wanted = {(int(i), int(j)) for i, j in zip(*np.nonzero(cosines >= threshold)) if j % 2 == 0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cosine, "BLOCK", 16)
        patch.setattr(cosine, "SPAN", 13)
        found = close(vectors, threshold, left, right)
    assert set(found) == wanted
    whole = close(vectors, threshold, left, right)
    assert whole == found, "a cosine is the same to the last bit, whatever is computed beside it"
    for pair, value in found.items():
        assert value == pytest.approx(cosines[pair], abs=2e-9)


def test_no_pair_below_the_threshold_is_taken_for_float_error() -> None:
    first = clumps(1, 1, 384, 1, 1.0)[0].astype(np.float64)
    second = clumps(2, 1, 384, 1, 1.0)[0].astype(np.float64)
    second -= (second @ first) * first
    second /= np.linalg.norm(second)
    angles = np.arccos(1 - np.array([0.0, 1e-6, 3e-6]))
    vectors = (np.cos(angles)[:, None] * first + np.sin(angles)[:, None] * second).astype(np.float32)
    found = close(vectors, 1 - 2e-6, np.arange(3), np.array([0]))
    assert set(found) == {(0, 0), (1, 0)}
    assert found[0, 0] == 1.0


def test_a_bound_excludes_most_pairs_of_unrelated_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clumps(0, 800, 96, 800, 1.0)
    full: list[int] = []
    exact = Cosines._exact
    monkeypatch.setattr(
        Cosines, "_exact", lambda self, first, second: full.append(len(first)) or exact(self, first, second)
    )
    assert len(close(vectors, 0.9, np.arange(800), np.arange(800))) == 800
    assert 800 <= sum(full) < 8000


@given(st.integers(0, 1000), st.integers(0, 50))
def test_the_nearest_other_is_found(seed: int, n: int) -> None:
    vectors = clumps(seed, n, 12, 5, 0.6)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cosine, "BLOCK", 7)
        patch.setattr(cosine, "SPAN", 11)
        found = nearest_cosine(vectors)
    wanted = cosines.max(axis=1) if n > 1 else np.full(n, np.nan)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
