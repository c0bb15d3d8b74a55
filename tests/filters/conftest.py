"""Shared by the tests of filters: an embedder without weights, and tables with ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gristmill.contracts.outcomes import TableResult


class HashingEmbedder:
    """Character 3-grams hashed into 128 signed buckets, so similar texts are close. Counts embedded texts."""

    dimensions = 128

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.seen += texts
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            padded = f"  {text} "
            for start in range(len(padded) - 2):
                digest = blake2b(padded[start : start + 3].encode(), digest_size=4).digest()
                vectors[row, digest[0] % self.dimensions] += 1 if digest[1] % 2 else -1
            vectors[row, 0] += 1e-3
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def embedder(context: Any) -> HashingEmbedder:
    made = HashingEmbedder()
    context.embedders[None] = made
    return made


def rows(**columns: Any) -> pa.Table:
    """A table of the columns, with ids `r0`, `r1`, …"""
    count = len(next(iter(columns.values())))
    return pa.table({"_id": [f"r{i}" for i in range(count)], **columns})


def with_ids(result: TableResult, table: pa.Table) -> TableResult:
    """The result with the ids of duplicated rows in place of their numbers."""
    ids = table["_id"].to_pylist()
    return replace(result, duplicate_of=[None if row < 0 else ids[row] for row in result.duplicate_of])


@pytest.fixture(name="with_ids", scope="session")
def _with_ids() -> Any:
    return with_ids


@pytest.fixture(name="rows", scope="session")
def _rows() -> Any:
    return rows
