"""The number of clusters, where the user does not give one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from .kmeans import kmeans

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Vectors on which the numbers are compared.
SAMPLE = 4096
#: Numbers that are compared, as far as there are this many times four vectors in the sample.
GRID = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
PER_CLUSTER = 4


def number_of_clusters(
    vectors: NDArray[np.float32], asked: int | Literal["auto"], seed: int
) -> tuple[int, Mapping[int, float]]:
    """Return the number of clusters to make of unit vectors ``(n, d)``, and the silhouette of each number
    tried.

    ``asked`` is returned if it is a number. ``auto`` clusters a sample of at most 4,096 vectors into each
    number of a geometric grid from 2 to 256 and takes the one with the highest mean silhouette (Rousseeuw,
    1987, by the cosine); of equals the smallest. It is 1 if there is nothing to compare. The same vectors and
    seed give the same number.
    """
    import numpy as np

    if asked != "auto":
        return asked, {}
    rows = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:SAMPLE])
    sample = vectors[rows]
    figures: dict[int, float] = {}
    for number in GRID:
        if number * PER_CLUSTER > max(len(sample), GRID[0] * PER_CLUSTER):
            break
        labels = kmeans(sample, number, seed).labels
        if 1 < labels.max(initial=0) + 1 < len(sample) and labels.max() + 1 == number:
            figures[number] = _silhouette(sample, labels)
    return (max(figures, key=lambda number: (figures[number], -number)) if figures else 1), figures


def _silhouette(vectors: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    """The mean silhouette, rounded so that a difference between threads does not decide.

    The mean distance (1 - cosine) to the vectors of a cluster needs only their sum.
    """
    import numpy as np

    sizes = np.bincount(labels).astype(np.float64)
    sums = np.zeros((len(sizes), vectors.shape[1]))
    np.add.at(sums, labels, vectors)
    distances = sizes - vectors.astype(np.float64) @ sums.T
    every = np.arange(len(labels))
    own_size = sizes[labels]
    # A vector's cosine to itself is 1, so the distance to itself adds nothing to the sum.
    own = distances[every, labels] / np.maximum(own_size - 1, 1)
    distances /= sizes
    distances[every, labels] = np.inf
    other = distances.min(axis=1)
    scale = np.maximum(np.maximum(own, other), 1e-12)
    return round(float(np.where(own_size > 1, (other - own) / scale, 0.0).mean()), 6)
