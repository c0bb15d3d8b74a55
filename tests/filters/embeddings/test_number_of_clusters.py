from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from gristmill.filters.embeddings.kmeans import kmeans
from gristmill.filters.embeddings.number_of_clusters import _silhouette, number_of_clusters


def blobs(sizes: list[int], noise: float = 0.02) -> np.ndarray:
    rng = np.random.default_rng(4)
    middle = np.linalg.qr(rng.normal(size=(32, len(sizes))))[0].T
    vectors = np.repeat(middle, sizes, axis=0) + noise * rng.normal(size=(sum(sizes), 32))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("true", [2, 3, 6, 12])
def test_the_planted_number_is_found(true: int) -> None:
    number, figures = number_of_clusters(blobs([40] * true), "auto", seed=1)
    assert number == true
    assert figures[true] > 0.9
    assert number_of_clusters(blobs([40] * true), "auto", seed=1) == (number, figures)


def test_the_silhouette_is_that_of_the_paper() -> None:
    vectors = blobs([12, 9, 5, 1], noise=0.2)
    labels = kmeans(vectors, 4, seed=0).labels
    wanted = silhouette_score(vectors, labels, metric="cosine")
    assert _silhouette(vectors, labels) == pytest.approx(wanted, abs=1e-5)


def test_a_number_that_is_asked_for_is_taken() -> None:
    assert number_of_clusters(blobs([9]), 5, seed=0) == (5, {})


def test_without_two_kinds_of_vectors_there_is_one_cluster() -> None:
    for vectors in (np.zeros((0, 8), dtype=np.float32), np.ones((9, 8), dtype=np.float32)):
        assert number_of_clusters(vectors, "auto", seed=0) == (1, {})
