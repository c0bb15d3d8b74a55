"""What MinHash holds in memory of many rows."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gristmill.filters.dedup.sketches import Sketches, Sketching

from .stored import ROW, BatchedRows

BANDS, ROWS = 32, 20_000
COPIES = np.arange(49, ROWS, 50)


@pytest.fixture(scope="module")
def columns() -> dict[str, pa.Array]:
    """The sketches of texts of 16 words, of which a few are as the one before, but for their last word."""
    words = np.random.default_rng(0).integers(0, 4096, (ROWS, 16))
    words[COPIES, :-1] = words[COPIES - 1, :-1]
    texts = pa.array([" ".join(map(str, row)) for row in words.tolist()], pa.large_string())
    return Sketching("words", 3, BANDS, 4).columns(texts)


def sketches(columns: dict[str, pa.Array], memory: int | None) -> Sketches:
    own: dict[str, Any] = {ROW: np.arange(ROWS), "prefer": np.zeros(ROWS)}
    return Sketches(BatchedRows(pa.table({**own, **columns}), 1000, memory=memory, numbered=True), BANDS)


def peak_per_row(work: Any) -> float:
    """The bytes that the work allocates at most, per row."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / ROWS
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("memory", "least", "most"), [(None, 8 * BANDS, 320), (64 * ROWS, 32, 90), (1, 8, 45)]
)
def test_as_many_bands_are_held_as_fit(
    columns: dict[str, pa.Array], memory: int | None, least: float, most: float
) -> None:
    found = sketches(columns, memory)
    assert least < peak_per_row(found.candidates) < most


def test_the_candidates_are_the_same_with_any_memory(columns: dict[str, pa.Array]) -> None:
    every = sketches(columns, None).candidates()
    assert len(every) >= 0.99 * len(COPIES)
    for memory in (1, ROWS * 100, ROWS * 8 * BANDS):
        assert np.array_equal(sketches(columns, memory).candidates(), every)
