from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.filters.score import neighbor_distance
from gristmill.filters.score.neighbor_distance import NeighborDistance, neighbor_distances


class Quiet:
    def check(self) -> None: ...

    def progress(self, *given: object) -> None: ...


@given(st.integers(0, 30), st.integers(1, 6), st.integers(0, 5), st.sampled_from([4, 1024]))
def test_distances_are_those_of_all_pairs(n: int, neighbors: int, seed: int, block: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    neighbor_distance.BLOCK = block
    try:
        found = neighbor_distances(vectors, neighbors, Quiet())  # type: ignore[arg-type]
    finally:
        neighbor_distance.BLOCK = 1024
    if n <= neighbors:
        assert np.isnan(found).all()
        return
    pairs = np.linalg.norm(vectors[:, None].astype(float) - vectors[None], axis=2)
    np.fill_diagonal(pairs, np.inf)
    np.testing.assert_allclose(found, np.sort(pairs, axis=1)[:, neighbors - 1], atol=2e-3)


@pytest.mark.usefixtures("embedder")
def test_a_row_of_its_own_kind_lies_farthest(context: Any, rows: Any) -> None:
    table = rows(prompt=["the sum of a list", "the sum of the list", "a sum of a list", "Zürich!", None])
    result = NeighborDistance(neighbors=1).apply(table, context)
    distances = result.columns["neighbor_distance"].to_pylist()
    assert np.argmax(distances[:4]) == 3
    assert distances[4] is None
    entropy = result.columns["neighbor_entropy"].to_pylist()
    assert entropy[3] == pytest.approx(np.log(distances[3]))
    assert result.errors is not None
    assert result.errors[4] is not None
    assert result.summary["mean_entropy"] == pytest.approx(np.mean(entropy[:4]))


@pytest.mark.usefixtures("embedder")
def test_equal_texts_have_a_finite_entropy(context: Any, rows: Any) -> None:
    result = NeighborDistance(neighbors=1).apply(rows(prompt=["same"] * 3), context)
    assert result.columns["neighbor_entropy"].to_pylist() == [pytest.approx(np.log(1e-3))] * 3
