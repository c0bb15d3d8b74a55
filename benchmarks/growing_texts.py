"""Synthetic texts of any number, with planted copies, for the benchmarks of filters that grow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

BATCH = 250_000
WORDS, LENGTH = 4096, 16
#: Of the rows: those with the words of an earlier one, and of these those with another last word.
COPIES, NEAR = 0.25, 0.25


def write_texts(path: Path, rows: int) -> None:
    """Texts of 16 words, about 127 characters. A quarter repeat an earlier one, some with another last word.

    The Jaccard similarity of the word 3-grams of a row and its near copy is 13/15.
    """
    vocabulary = pa.array([f"w{n * 7919 % 1_000_003:06d}" for n in range(WORDS)])
    with pq.ParquetWriter(path, pa.schema([("text", pa.string())]), compression="zstd") as writer:
        for start in range(0, rows, BATCH):
            own = np.arange(start, min(start + BATCH, rows), dtype=np.uint64)
            draw = np.random.default_rng(start)
            copied, numbers = draw.random(len(own)) < COPIES, own.copy()
            numbers[copied] = (own[copied] * np.uint64(2654435761)) % np.uint64(start + 1)
            near = copied & (draw.random(len(own)) < NEAR)
            columns = [_words(vocabulary, numbers, place) for place in range(LENGTH - 1)]
            columns.append(_words(vocabulary, np.where(near, own, numbers), LENGTH - 1))
            writer.write_table(pa.table({"text": pc.binary_join_element_wise(*columns, " ")}))


def _words(vocabulary: pa.Array, numbers: np.ndarray, place: int) -> pa.Array:
    """A word of each row, drawn by its number and the place."""
    mixed = numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64(place * 0xBF58476D1CE4E5B9 % 2**63)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0x94D049BB133111EB)
    return vocabulary.take(pa.array((mixed >> np.uint64(40)) % np.uint64(WORDS)))
