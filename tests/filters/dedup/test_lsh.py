from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.filters.dedup import lsh
from gristmill.filters.dedup.lsh import band_keys, bucket_pairs, candidates, choose_bands
from gristmill.filters.dedup.shingles import Sets


def sets_with(similarity: float, pairs: int, shared: int = 60) -> tuple[Sets, Sets]:
    """Random sets in pairs of this Jaccard similarity."""
    draw = np.random.default_rng(0)
    own = round(shared * (1 / similarity - 1) / 2)
    hashes = draw.integers(0, 1 << 54, (pairs, shared + 2 * own), dtype=np.uint64)
    size = shared + own
    left, right = hashes[:, :size], np.concatenate((hashes[:, :shared], hashes[:, size:]), axis=1)
    return tuple(
        Sets(np.sort(side, axis=1).reshape(-1), np.arange(pairs + 1) * size) for side in (left, right)
    )


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8])
def test_bands_agree_as_often_as_the_theory_says(similarity: float) -> None:
    left, right = sets_with(similarity, 2000)
    bands, rows = 32, 4
    agree = band_keys(left, bands, rows) == band_keys(right, bands, rows)
    size = 60 + round(60 * (1 / similarity - 1) / 2)
    exact = 60 / (2 * size - 60)
    assert agree.mean() == pytest.approx(exact**rows, abs=0.01)
    assert agree.any(axis=1).mean() == pytest.approx(1 - (1 - exact**rows) ** bands, abs=0.01)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.9, 1.0])
@pytest.mark.parametrize("permutations", [16, 128, 256])
def test_bands_are_the_longest_that_find_a_pair_at_the_threshold(threshold: float, permutations: int) -> None:
    def finds(rows: int) -> float:
        return 1 - (1 - threshold**rows) ** (permutations // rows)

    bands, rows = choose_bands(threshold, permutations)
    assert bands * rows <= permutations
    assert rows == 1 or finds(rows) >= 0.99
    assert all(finds(longer) < 0.99 for longer in range(rows + 1, permutations + 1))


@given(st.lists(st.integers(0, 5), max_size=60), st.integers(1, 8))
def test_each_row_meets_the_first_rows_of_its_bucket(keys: list[int], reach: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lsh, "REACH", reach)
        ordered = sorted(keys)
        earlier, later = bucket_pairs(np.array(ordered, np.uint64))
    expected = [
        (other, place)
        for place, key in enumerate(ordered)
        for other in range(ordered.index(key), min(ordered.index(key) + reach, place))
    ]
    assert list(zip(earlier.tolist(), later.tolist())) == expected


@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=12))
def test_candidates_are_the_pairs_that_share_a_band(rows: list[list[int]]) -> None:
    keys = np.array(rows, np.uint64).T << np.uint64(40) | np.arange(len(rows), dtype=np.uint64)
    keys = keys[:, ::-1].copy()  # their order does not matter
    found = [(int(pair) >> 32, int(pair) & 0xFFFF_FFFF) for pair in candidates(keys, 40)]
    assert found == [
        (a, b)
        for a in range(len(rows))
        for b in range(a + 1, len(rows))
        if any(x == y for x, y in zip(rows[a], rows[b]))
    ]


def test_a_huge_bucket_costs_few_comparisons() -> None:
    equal = np.tile(np.arange(10_000, dtype=np.uint64), (3, 1))
    assert len(candidates(equal, 14)) < 10_000 * lsh.REACH
