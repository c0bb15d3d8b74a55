"""The order in which texts are embedded."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gristmill.contracts.inference import EMBED_CHUNK
from gristmill.pipelines.run.stored_embedder import KeptVectors
from gristmill.pipelines.store.vectors import VectorStore


class Lengths:
    """An embedder without weights. ``seen``: the texts that it embedded, in order."""

    dimensions = 1

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, texts: Any) -> np.ndarray:
        self.seen += texts
        return np.array([[len(text)] for text in texts], np.float32)


def texts(chunks: float) -> list[str]:
    """Distinct ones, of up to 2,000 characters."""
    draw = random.Random(1)
    return [f"{n}" + "x" * draw.randrange(2000) for n in range(int(chunks * EMBED_CHUNK))]


@pytest.mark.parametrize("chunks", [3, 4.4, 5, 8, 12.9])
def test_what_the_first_texts_take_stands_for_the_rest(tmp_path: Path, chunks: float) -> None:
    model = Lengths()
    given = texts(chunks)
    KeptVectors(VectorStore(tmp_path, "model"), lambda: model).encode(given)
    assert sorted(model.seen) == sorted(given)
    made = int(np.ceil(0.6 * chunks)) * EMBED_CHUNK
    first, rest = (np.mean([len(text) for text in some]) for some in (model.seen[:made], model.seen[made:]))
    assert 1 / 1.6 < rest / first < 1.6


def test_a_chunk_holds_texts_of_about_equal_length(tmp_path: Path) -> None:
    model = Lengths()
    given = texts(4)
    KeptVectors(VectorStore(tmp_path, "model"), lambda: model).encode(given)
    lengths = [
        [len(text) for text in model.seen[at : at + EMBED_CHUNK]] for at in range(0, len(given), EMBED_CHUNK)
    ]
    bounds = sorted((min(chunk), max(chunk)) for chunk in lengths)
    assert all(high <= low for (_, high), (low, _) in pairwise(bounds))
    assert all(chunk == sorted(chunk) for chunk in lengths)
