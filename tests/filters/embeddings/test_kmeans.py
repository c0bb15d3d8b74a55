from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.filters.embeddings import kmeans as module
from gristmill.filters.embeddings.kmeans import kmeans


def blobs(sizes: list[int], d: int = 32) -> np.ndarray:
    rng = np.random.default_rng(4)
    middle = np.linalg.qr(rng.normal(size=(d, len(sizes))))[0].T
    vectors = np.repeat(middle, sizes, axis=0) + 0.02 * rng.normal(size=(sum(sizes), d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_clusters_are_found_and_numbered_from_the_largest() -> None:
    vectors = blobs([5, 40, 15])
    found = kmeans(vectors, 3, seed=9)
    assert found.labels.tolist() == [2] * 5 + [0] * 40 + [1] * 15
    means = np.stack([vectors[found.labels == c].mean(axis=0) for c in range(3)])
    np.testing.assert_allclose(found.centroids, means, atol=1e-5)
    squared = ((vectors - means[found.labels]) ** 2).sum(axis=1)
    assert found.inertia == pytest.approx(float(squared.mean()), abs=1e-5)
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(found.cosines, (vectors * unit[found.labels]).sum(axis=1), atol=1e-5)


def test_rare_clusters_are_found_among_many_rows() -> None:
    vectors = blobs([1500, 1500, 80, 80])
    for seed in range(5):
        assert np.bincount(kmeans(vectors, 4, seed).labels).tolist() == [1500, 1500, 80, 80]


def test_the_same_seed_gives_the_same_clusters_on_any_number_of_threads() -> None:
    import faiss
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3000, 48)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    before = faiss.omp_get_max_threads()
    found = []
    try:
        for threads in (1, 2):
            faiss.omp_set_num_threads(threads)
            with threadpool_limits(threads):
                found.append(kmeans(vectors, 30, seed=1))
    finally:
        faiss.omp_set_num_threads(before)
    for other in found[1:]:
        np.testing.assert_array_equal(other.labels, found[0].labels)
        np.testing.assert_array_equal(other.centroids, found[0].centroids)
    assert (kmeans(vectors, 30, seed=2).labels != found[0].labels).any()


def test_the_inertia_is_at_most_that_of_faiss() -> None:
    import faiss

    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(100, 32))[rng.integers(0, 100, 8000)] + 0.7 * rng.normal(size=(8000, 32))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    plain = faiss.Kmeans(32, 80, seed=3)
    plain.train(vectors)
    distances, _ = plain.index.search(vectors, 1)
    assert kmeans(vectors, 80, seed=3).inertia <= float(distances.mean()) * 1.005


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = blobs([50, 40, 30])
    whole = kmeans(vectors, 8, seed=0)
    monkeypatch.setattr(module, "BLOCK", 7)
    blocks = kmeans(vectors, 8, seed=0)
    assert blocks.labels.tolist() == whole.labels.tolist()
    np.testing.assert_allclose(blocks.cosines, whole.cosines, atol=1e-6)


def test_training_reads_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []
    train = module._train
    monkeypatch.setattr(
        module, "_train", lambda sample, *rest: trained.append(len(sample)) or train(sample, *rest)
    )
    found = kmeans(blobs([700, 600]), 2, seed=0)
    assert trained == [512] * module.RESTARTS
    assert found.labels.tolist() == [0] * 700 + [1] * 600


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 50), st.integers(0, 99))
@settings(max_examples=25)
def test_copies_make_no_clusters_of_their_own(copies: list[int], clusters: int, seed: int) -> None:
    distinct = blobs([1] * len(copies))
    found = kmeans(np.repeat(distinct, copies, axis=0), clusters, seed)
    sizes = np.bincount(found.labels)
    assert len(sizes) == len(found.centroids) <= min(clusters, len(copies))
    assert (sizes > 0).all()
    assert (np.diff(sizes) <= 0).all()
    if clusters >= len(copies):
        assert len(sizes) == len(copies)
        assert found.inertia == pytest.approx(0, abs=1e-5)


def test_first_centroids_are_looked_for_among_distinct_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEEDED", 8)
    vectors = np.repeat(blobs([1, 1, 1, 1]), [900, 1, 1, 1], axis=0)
    for seed in range(3):
        assert np.bincount(kmeans(vectors, 4, seed).labels).tolist() == [900, 1, 1, 1]


def test_zero_vectors_one_vector_and_none() -> None:
    zeros = kmeans(np.zeros((5, 4), dtype=np.float32), 3, seed=0)
    assert zeros.labels.tolist() == [0] * 5
    assert zeros.cosines.tolist() == [0.0] * 5
    assert kmeans(blobs([1]), 7, seed=0).labels.tolist() == [0]
    none = kmeans(np.zeros((0, 4), dtype=np.float32), 3, seed=0)
    assert len(none.labels) == len(none.cosines) == len(none.centroids) == 0


def scattered() -> np.ndarray:
    rng = np.random.default_rng(6)
    return (rng.normal(size=(30, 32)).repeat(40, axis=0) + rng.normal(size=(1200, 32))).astype(np.float32)


def test_first_centroids_are_the_best_of_several_draws() -> None:
    from sklearn.cluster import kmeans_plusplus

    vectors = scattered()

    def inertia(centroids: np.ndarray) -> float:
        return float(module.assign(vectors, centroids)[1].mean())

    ours = [inertia(module._first_centroids(vectors, 30, seed)) for seed in range(5)]
    single = [
        inertia(kmeans_plusplus(vectors, 30, random_state=seed, n_local_trials=1)[0]) for seed in range(5)
    ]
    assert max(ours) < min(single)


def test_many_candidates_are_not_compared_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = scattered()
    at_once = module._first_centroids(vectors, 30, seed=0)
    monkeypatch.setattr(module, "SEEDED", 100)
    np.testing.assert_array_equal(module._first_centroids(vectors, 30, seed=0), at_once)


def test_training_ends_when_an_iteration_gains_little(monkeypatch: pytest.MonkeyPatch) -> None:
    import faiss

    made: list[faiss.Kmeans] = []
    plain = faiss.Kmeans
    monkeypatch.setattr(faiss, "Kmeans", lambda *a, **named: made.append(plain(*a, **named)) or made[-1])
    vectors = scattered()
    module._train(vectors, vectors[:30], 100, seed=0)
    gains = 1 - made[0].obj[1:] / made[0].obj[:-1]
    assert (gains[:-1] >= module.TOLERANCE).all()
    assert gains[-1] < module.TOLERANCE
