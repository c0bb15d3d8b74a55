from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.filters.embeddings import cells, cosine, duplicates
from gristmill.filters.embeddings.duplicates import greedy_duplicates

METHODS = ["pairs", "cells"]


def clumps(seed: int, n: int, d: int, centres: int, noise: float) -> np.ndarray:
    """Unit vectors around a few directions, so that many pairs are near any threshold."""
    rng = np.random.default_rng(seed)
    middle = rng.normal(size=(centres, d))
    vectors = middle[rng.integers(0, centres, n)] + noise * rng.normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def planted(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of which the last fifth are near-copies (cosine .9 to 1) of others, in a random order.

    Also returned: for each vector the one it is a copy of, or -1.
    """
    rng = np.random.default_rng(seed)
    copies = n // 5
    base = clumps(seed, n - copies, d, 200, 1.0)
    of = rng.integers(0, len(base), copies)
    cosines = rng.uniform(0.9, 1.0, copies)[:, None]
    aside = rng.normal(size=(copies, d))
    aside -= (aside * base[of]).sum(axis=1, keepdims=True) * base[of]
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    vectors = np.concatenate((base, cosines * base[of] + np.sqrt(1 - cosines**2) * aside)).astype(np.float32)
    order = rng.permutation(n)
    place = np.argsort(order)
    source = np.concatenate((np.full(len(base), -1), place[of]))[order]
    return vectors[order], source


def plain(vectors: np.ndarray, threshold: float) -> list[int]:
    """The kept rows by definition: one row at a time against all kept rows."""
    kept: list[int] = []
    for row in range(len(vectors)):
        if not kept or (vectors[kept].astype(np.float64) @ vectors[row].astype(np.float64)).max() < threshold:
            kept.append(row)
    return kept


@pytest.mark.parametrize("method", METHODS)
@given(
    seed=st.integers(0, 1000),
    n=st.integers(0, 90),
    d=st.sampled_from([8, 96]),
    centres=st.integers(1, 20),
    noise=st.floats(0.05, 1.5),
    threshold=st.sampled_from([0.5, 0.83, 0.99]),
)
@settings(max_examples=15)
def test_it_is_the_greedy_choice_whatever_the_blocks(
    method: str, seed: int, n: int, d: int, centres: int, noise: float, threshold: float
) -> None:
    vectors = clumps(seed, n, d, centres, noise)
    cosines = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    if (np.abs(cosines - threshold) < 1e-6).any():
        return
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in (
            (cosine, "BLOCK", 16), (duplicates, "BLOCK", 16), (cosine, "SPAN", 13),
            (duplicates, "CELL_BLOCK", 32), (cells, "WORTHWHILE", 1.0), (cells, "SAMPLED", 100),
        ):  # fmt: skip
            patch.setattr(module, name, value)
        found = greedy_duplicates(vectors, threshold, method=method)
    assert found.promise.get("exact", True)
    duplicate_of, score = found.duplicate_of, found.score
    kept = np.flatnonzero(duplicate_of < 0)
    assert kept.tolist() == plain(vectors, threshold)
    for row in np.flatnonzero(duplicate_of >= 0):
        before = kept[kept < row]
        assert duplicate_of[row] in before
        assert score[row] == pytest.approx(cosines[row, before].max(), abs=1e-6)
        assert score[row] == pytest.approx(cosines[row, duplicate_of[row]], abs=1e-6)
        assert score[row] >= threshold
    assert np.isnan(score[kept]).all()


@pytest.mark.parametrize("method", METHODS)
def test_blocks_threads_and_a_memory_map_change_nothing(
    method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike
) -> None:
    vectors, _ = planted(3000, 64, 5)
    first = greedy_duplicates(vectors, 0.93, method=method)
    assert 300 < (first.duplicate_of >= 0).sum() < 600
    np.save(f"{tmp_path}/vectors.npy", vectors)
    stored = np.load(f"{tmp_path}/vectors.npy", mmap_mode="r")
    monkeypatch.setattr(duplicates, "_cores", lambda: 3)
    for block, span, cell_block in ((100, 70, 500), (2000, 5000, 3000)):
        monkeypatch.setattr(cosine, "BLOCK", block)
        monkeypatch.setattr(duplicates, "BLOCK", block)
        monkeypatch.setattr(cosine, "SPAN", span)
        monkeypatch.setattr(duplicates, "CELL_BLOCK", cell_block)
        again = greedy_duplicates(stored, 0.93, method=method)
        if method == "cells":
            # Within a block of the cells all pairs count, so a larger block may find more, never less.
            assert ((again.duplicate_of < 0) == (first.duplicate_of < 0)).mean() > 0.999
        else:
            np.testing.assert_array_equal(again.duplicate_of, first.duplicate_of)
            np.testing.assert_array_equal(again.score, first.score)


def test_cells_find_what_all_pairs_find_among_many_vectors() -> None:
    vectors, source = planted(20_000, 64, 3)
    exact = greedy_duplicates(vectors, 0.92, method="pairs")
    found = greedy_duplicates(vectors, 0.92, method="cells")
    wanted, got = exact.duplicate_of >= 0, found.duplicate_of >= 0
    assert 2500 < wanted.sum() < 4000
    assert (got & wanted).sum() >= 0.99 * wanted.sum()
    assert (source[wanted] >= 0).mean() > 0.4
    assert found.promise["cells_probed_at_most"] < found.promise["cells"]
    assert found.promise["estimated_recall"] >= 0.99
    cosines = np.einsum(
        "ij,ij->i", vectors[got].astype(float), vectors[found.duplicate_of[got]].astype(float)
    )
    assert cosines.min() >= 0.92 - 1e-6


def test_at_a_high_threshold_no_cell_within_reach_is_left_out() -> None:
    vectors, _ = planted(4000, 64, 4)
    found = greedy_duplicates(vectors, 0.999, method="cells")
    exact = greedy_duplicates(vectors, 0.999, method="pairs")
    assert found.promise["exact"]
    assert found.promise["estimated_recall"] == 1.0
    np.testing.assert_array_equal(found.duplicate_of < 0, exact.duplicate_of < 0)


def test_duplicates_on_both_sides_of_a_border_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points close together all along a circle: every border of two cells parts some of them."""
    monkeypatch.setattr(duplicates, "CELL_BLOCK", 32)  # rows of one block are compared without cells
    angles = np.random.default_rng(5).permutation(3000) * 2 * np.pi / 3000
    vectors = np.column_stack((np.cos(angles), np.sin(angles))).astype(np.float32)
    threshold = float(np.cos(2.5 * 2 * np.pi / 3000))
    found = greedy_duplicates(vectors, threshold, method="cells")
    exact = greedy_duplicates(vectors, threshold, method="pairs")
    assert found.promise["cells"] > 10
    assert found.promise["exact"]
    np.testing.assert_array_equal(found.duplicate_of < 0, exact.duplicate_of < 0)


def test_the_number_of_rows_decides_the_method(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clumps(0, 40, 8, 3, 0.1)
    assert greedy_duplicates(vectors, 0.9).promise == {"method": "pairs"}
    monkeypatch.setattr(duplicates, "EXACT_ROWS", 39)
    assert greedy_duplicates(vectors, 0.9).promise["method"] == "cells"


@pytest.mark.parametrize("method", METHODS)
def test_equal_vectors_meet_a_threshold_of_one(method: str) -> None:
    vectors = np.repeat(clumps(0, 3, 384, 3, 1.0), 4, axis=0)
    found = greedy_duplicates(vectors, 1.0, method=method)
    assert found.duplicate_of.tolist() == [-1, 0, 0, 0, -1, 4, 4, 4, -1, 8, 8, 8]
    assert np.nanmin(found.score) == np.nanmax(found.score) == 1.0


@pytest.mark.parametrize("method", METHODS)
def test_all_equal_all_zero_and_no_vectors(method: str) -> None:
    same = np.repeat(clumps(1, 1, 16, 1, 0.0), 3000, axis=0)
    assert greedy_duplicates(same, 0.9, method=method).duplicate_of.tolist() == [-1] + [0] * 2999
    zero = np.zeros((50, 16), dtype=np.float32)
    assert (greedy_duplicates(zero, 0.9, method=method).duplicate_of < 0).all()
    none = greedy_duplicates(np.zeros((0, 8), dtype=np.float32), 0.9, method=method)
    assert len(none.duplicate_of) == len(none.score) == 0


@pytest.mark.parametrize("method", METHODS)
def test_the_order_is_that_of_preference(method: str) -> None:
    vectors = clumps(2, 60, 16, 4, 0.2)
    order = np.random.default_rng(0).permutation(60)[:50]
    found = greedy_duplicates(vectors, 0.9, order=order, method=method)
    direct = greedy_duplicates(vectors[order], 0.9, method=method)
    np.testing.assert_array_equal(found.duplicate_of, direct.duplicate_of)


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_a_second_search_finds_nothing(seed: int) -> None:
    vectors = clumps(seed, 200, 16, 30, 0.6)
    kept = vectors[greedy_duplicates(vectors, 0.9, method="pairs").duplicate_of < 0]
    assert (greedy_duplicates(kept, 0.9, method="pairs").duplicate_of < 0).all()
