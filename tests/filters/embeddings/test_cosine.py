from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.filters.embeddings import cosine
from gristmill.filters.embeddings.cosine import greedy_duplicates, nearest_cosine


def clumps(seed: int, n: int, d: int, centres: int, noise: float) -> np.ndarray:
    """Unit vectors around a few directions, so that many pairs are near any threshold."""
    rng = np.random.default_rng(seed)
    middle = rng.normal(size=(centres, d))
    vectors = middle[rng.integers(0, centres, n)] + noise * rng.normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def plain(vectors: np.ndarray, threshold: float) -> list[int]:
    """The kept rows by definition: one row at a time against all kept rows."""
    kept: list[int] = []
    for row in range(len(vectors)):
        if not kept or (vectors[kept].astype(np.float64) @ vectors[row].astype(np.float64)).max() < threshold:
            kept.append(row)
    return kept


@given(
    st.integers(0, 1000),
    st.integers(0, 90),
    st.sampled_from([8, 96]),
    st.integers(1, 20),
    st.floats(0.05, 1.5),
)
def test_it_is_the_greedy_choice_whatever_the_blocks(
    seed: int, n: int, d: int, centres: int, noise: float
) -> None:
    vectors = clumps(seed, n, d, centres, noise)
    threshold = 0.83
    cosines = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    if (np.abs(cosines - threshold) < 1e-4).any():
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cosine, "BLOCK", 16)
        patch.setattr(cosine, "SPAN", 13)
        patch.setattr(cosine, "REST", 0.6)
        duplicate_of, score = greedy_duplicates(vectors, threshold)
    kept = np.flatnonzero(duplicate_of < 0)
    assert kept.tolist() == plain(vectors, threshold)
    for row in np.flatnonzero(duplicate_of >= 0):
        before = kept[kept < row]
        assert duplicate_of[row] in before
        assert score[row] == pytest.approx(cosines[row, before].max(), abs=1e-5)
        assert score[row] == pytest.approx(cosines[row, duplicate_of[row]], abs=1e-5)
    assert np.isnan(score[kept]).all()


@given(st.integers(0, 1000))
def test_a_lower_threshold_never_keeps_more_than_a_pairwise_free_set_allows(seed: int) -> None:
    vectors = clumps(seed, 60, 16, 6, 0.5)
    counts = [int((greedy_duplicates(vectors, t)[0] < 0).sum()) for t in (0.999999, 0.5, 0.05)]
    assert counts[0] >= counts[1] >= counts[2]


def test_equal_vectors_meet_a_threshold_of_one() -> None:
    vectors = np.repeat(clumps(0, 3, 384, 3, 1.0), 4, axis=0)
    duplicate_of, score = greedy_duplicates(vectors, 1.0)
    assert duplicate_of.tolist() == [-1, 0, 0, 0, -1, 4, 4, 4, -1, 8, 8, 8]
    assert np.nanmax(score) <= 1.0


def test_no_rows_no_answers() -> None:
    duplicate_of, score = greedy_duplicates(np.zeros((0, 8), dtype=np.float32), 0.9)
    assert len(duplicate_of) == len(score) == 0


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
