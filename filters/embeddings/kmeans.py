"""K-means on embeddings, by faiss.

faiss was chosen by measurement (benchmarks/filters_kmeans.py): it is the fastest of the libraries that give
the same clusters on any number of threads. scikit-learn sums over threads in a varying order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Vectors per centroid that are trained on; more hardly improve the centroids.
TRAINED_PER_CENTROID = 256
#: Vectors per centroid among which the first centroids are looked for, and at least in all.
SEEDED_PER_CENTROID, SEEDED = 4, 4096
ITERATIONS = 25
#: With few vectors and clusters, k-means is run this often, and the lowest inertia wins: a poor start that
#: leaves two clusters as one costs more there.
RESTARTS, RESTARTS_UP_TO = 3, 1_000_000
#: Training ends when an iteration lowers the inertia by less than this share.
TOLERANCE = 3e-3
#: Vectors that are assigned at once.
BLOCK = 65_536


@dataclass(frozen=True, slots=True)
class Clusters:
    """The result of k-means on vectors ``(n, d)``.

    ``labels``: int32 ``(n,)``; cluster 0 is the largest (of equals, the one that starts first).
    ``centroids``: float32 ``(k, d)``, the means, which are shorter than 1. ``cosines``: float64 ``(n,)``, of
    each vector and its centroid, 0 if one of them is zero. ``inertia``: the mean squared distance of a vector
    to its centroid.
    """

    labels: NDArray[np.int32]
    centroids: NDArray[np.float32]
    cosines: NDArray[np.float64]
    inertia: float


def kmeans(
    vectors: NDArray[np.float32],
    clusters: int,
    seed: int,
    *,
    trained_per_centroid: int = TRAINED_PER_CENTROID,
    iterations: int = ITERATIONS,
) -> Clusters:
    """Cluster finite vectors ``(n, d)`` by Lloyd's algorithm from k-means++ centroids (Arthur and
    Vassilvitskii, 2007).

    There are at most ``clusters`` of them, and fewer if there are fewer distinct vectors. No cluster is
    empty: one that loses its vectors while training takes half of a large one. Trains on a sample of at most
    ``trained_per_centroid`` vectors per cluster and assigns all, in blocks. The same vectors and seed give
    the same clusters on any number of threads. Beside the vectors, the sample is in memory.
    """
    import numpy as np

    n, width = vectors.shape
    if not n:
        empty = np.zeros((0, width), dtype=np.float32)
        return Clusters(np.zeros(0, dtype=np.int32), empty, np.zeros(0), 0.0)
    order = np.random.default_rng(seed).permutation(n)
    candidates = _distinct(vectors, order, max(SEEDED, SEEDED_PER_CENTROID * clusters))
    clusters = min(clusters, len(candidates))
    sample = vectors
    if n > trained_per_centroid * clusters:
        sample = vectors[np.sort(order[: trained_per_centroid * clusters])]
    tries = RESTARTS if len(sample) * clusters <= RESTARTS_UP_TO else 1
    trained = [
        _train(sample, _first_centroids(candidates, clusters, seed + each), iterations, seed + each)
        for each in range(tries)
    ]
    centroids, _ = min(trained, key=lambda each: each[1])
    return _assigned(vectors, centroids)


def assign(
    vectors: NDArray[np.float32], centroids: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the nearest centroid of each vector, int64 ``(n,)``, and the squared distance, float32
    ``(n,)``."""
    import faiss
    import numpy as np

    index = faiss.IndexFlatL2(centroids.shape[1])
    index.add(centroids)
    labels = np.empty(len(vectors), dtype=np.int64)
    distances = np.empty(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), BLOCK):
        block = slice(start, start + BLOCK)
        near, who = index.search(np.ascontiguousarray(vectors[block]), 1)
        labels[block], distances[block] = who[:, 0], near[:, 0]
    return labels, distances


def _distinct(vectors: NDArray[np.float32], order: NDArray[np.int64], wanted: int) -> NDArray[np.float32]:
    """Return the first ``wanted`` distinct vectors in this order, or all if there are fewer."""
    rows: dict[bytes, int] = {}
    for row in order.tolist():
        # Zero has two signs, which differ in their bytes.
        rows.setdefault((vectors[row] + 0.0).tobytes(), row)
        if len(rows) == wanted:
            break
    return vectors[list(rows.values())]


def _first_centroids(candidates: NDArray[np.float32], clusters: int, seed: int) -> NDArray[np.float32]:
    """Choose centroids that are far from each other. ``candidates``: distinct vectors.

    Greedy k-means++, as in scikit-learn, which is several times slower since it computes the products with
    each centroid by themselves: of several candidates, drawn by their squared distances to the nearest
    centroid, the one that lowers the sum of these distances the most.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    if clusters == len(candidates):
        return candidates
    draw = np.random.default_rng(seed)
    drawn = 2 + int(np.log(clusters))
    lengths = np.einsum("ij,ij->i", candidates, candidates)
    with threadpool_limits(1):
        products = candidates @ candidates.T if len(candidates) <= SEEDED else None

        def distances(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            each = candidates[rows] @ candidates.T if products is None else products[rows]
            found: NDArray[np.float32] = np.maximum(lengths[rows, None] - 2 * each + lengths, 0)
            found[np.arange(len(rows)), rows] = 0
            return found

        chosen = [int(draw.integers(len(candidates)))]
        nearest = distances(np.array(chosen))[0]
        while len(chosen) < clusters:
            sums = np.cumsum(nearest, dtype=np.float64)
            rows = np.searchsorted(sums, draw.random(drawn) * sums[-1], side="right")
            rows = np.minimum(rows, len(candidates) - 1)
            after = np.minimum(distances(rows), nearest)
            best = int(after.sum(axis=1, dtype=np.float64).argmin())
            nearest = after[best]
            chosen.append(int(rows[best]))
    return candidates[chosen]


def _train(
    sample: NDArray[np.float32], centroids: NDArray[np.float32], iterations: int, seed: int
) -> tuple[NDArray[np.float32], float]:
    """Return the trained centroids and their inertia on the sample."""
    import faiss

    training = faiss.Kmeans(
        sample.shape[1],
        len(centroids),
        niter=iterations,
        early_stop_threshold=TOLERANCE,
        seed=seed % 2**31,
        min_points_per_centroid=1,
        max_points_per_centroid=len(sample),
    )
    inertia = float(training.train(sample, init_centroids=centroids))
    assert training.centroids is not None
    return training.centroids, inertia


def _assigned(vectors: NDArray[np.float32], centroids: NDArray[np.float32]) -> Clusters:
    """Assign all vectors. Clusters without any are left out, the others numbered from the largest."""
    import numpy as np

    labels, distances = assign(vectors, centroids)
    found, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    by_size = found[np.lexsort((first, -sizes))]
    renumbered = np.zeros(len(centroids), dtype=np.int32)
    renumbered[by_size] = np.arange(len(by_size), dtype=np.int32)
    squared = np.einsum("ij,ij->i", centroids, centroids, dtype=np.float64)[labels]
    cosines = np.zeros(len(vectors))
    for start in range(0, len(vectors), BLOCK):
        block = slice(start, start + BLOCK)
        lengths = np.einsum("ij,ij->i", vectors[block], vectors[block]).astype(np.float64)
        # |v - c|^2 = |v|^2 + |c|^2 - 2 v.c
        product = (lengths + squared[block] - distances[block]) / 2
        scale = np.sqrt(lengths * squared[block])
        np.divide(product, scale, out=cosines[block], where=scale > 0)
    return Clusters(
        renumbered[labels], centroids[by_size], np.clip(cosines, -1.0, 1.0), float(distances.mean())
    )
