"""Cells of vectors, and which of them can hold a vector that is similar to a given one.

The cells are those of k-means, as in SemDeDup (Abbas et al., 2023), but a vector is not compared within its
own cell only. Let x be a vector of the cell with centroid a, and b another centroid. A vector y of the cell
of b is nearer to b than to a, so it lies beyond the plane halfway between them. If the cosine of x and y is
at least t, then the distance of x from that plane is at most sqrt(1 - t^2) (the reach). Cells beyond the
reach hold no duplicate of x: to leave them out loses nothing. Where more cells are within reach than are
worth a look, only the nearest planes are crossed, and the share of pairs that this finds is estimated on a
sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .kmeans import kmeans

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .cosine import Cosines

#: Share of the pairs at the threshold that the probed cells must hold, by the estimate.
RECALL = 0.992
#: Pairs in that estimate.
SAMPLED = 4096
#: All cells within reach are probed if they are at most this share of the cells.
WORTHWHILE = 1 / 16
#: K-means needs little training here: cells need not be good clusters.
TRAINED_PER_CELL, ITERATIONS = 64, 10
ROUNDING = 1e-5


class Cells:
    """Cells of the vectors of ``cosines``, and the kept vectors in each."""

    def __init__(self, cosines: Cosines, seed: int) -> None:
        import numpy as np

        self._cosines = cosines
        n = len(cosines.rows)
        self._reach = float(np.sqrt(max(0.0, 1.0 - float(cosines.threshold) ** 2))) + ROUNDING
        wanted = max(1, round(n**0.5))
        draw = np.random.default_rng(seed)
        trained = np.sort(draw.permutation(n)[: TRAINED_PER_CELL * wanted])
        self._centroids = kmeans(
            cosines.of(trained), wanted, seed, trained_per_centroid=TRAINED_PER_CELL, iterations=ITERATIONS
        ).centroids
        self._half = (self._centroids.astype(np.float64) ** 2).sum(axis=1).astype(np.float32) / 2
        gram = self._centroids.astype(np.float64) @ self._centroids.T.astype(np.float64)
        squared = np.maximum(np.diag(gram)[:, None] + np.diag(gram) - 2 * gram, 0.0)
        # Equal centroids do not occur; the diagonal divides zero.
        self._apart = np.sqrt(squared + np.eye(len(gram))).astype(np.float32)
        self._probed = self._enough(draw) if n else 1
        self._cell = np.full(n, -1, dtype=np.int32)
        self._kept: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64) for _ in self._centroids]
        self._cut = 0

    def to_compare(
        self, positions: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield, for each cell, those of ``positions`` that may have a duplicate in it, and the kept
        positions in it."""
        import numpy as np

        cell, distances = self._planes(self._cosines.of(positions))
        self._cell[positions] = cell
        within = distances <= self._reach
        if self._probed < distances.shape[1]:
            last = np.partition(distances, self._probed - 1, axis=1)[:, self._probed - 1]
            near = distances <= last[:, None]
            self._cut += int((within & ~near).any(axis=1).sum())
            within &= near
        cells, places = np.nonzero(within.T)
        edges = np.searchsorted(cells, np.arange(len(self._kept) + 1))
        for number, kept in enumerate(self._kept):
            some = positions[places[edges[number] : edges[number + 1]]]
            if len(some) and len(kept):
                yield some, kept

    def keep(self, positions: NDArray[np.int64]) -> None:
        """Add kept positions, which were probed before, to their cells."""
        import numpy as np

        order = np.argsort(self._cell[positions], kind="stable")
        cells = self._cell[positions][order]
        edges = np.flatnonzero(np.diff(cells, prepend=-1, append=len(self._kept)))
        for low, high in zip(edges[:-1].tolist(), edges[1:].tolist()):
            cell = int(cells[low])
            self._kept[cell] = np.concatenate((self._kept[cell], positions[order[low:high]]))

    def promise(self) -> Mapping[str, Any]:
        """Figures for the report: whether all cells within reach were probed, else the estimated recall."""
        return {
            "method": "cells",
            "cells": len(self._centroids),
            "cells_probed_at_most": self._probed,
            "exact": self._cut == 0,
            "rows_cut": self._cut,
            "estimated_recall": 1.0 if self._cut == 0 else self.recall,
        }

    def _planes(self, vectors: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the cell of each vector, and its distance from the plane to each other cell (0 to its
        own)."""
        import numpy as np

        nearness = vectors @ self._centroids.T - self._half
        cell = nearness.argmax(axis=1)
        own = nearness[np.arange(len(vectors)), cell]
        distances = (own[:, None] - nearness) / self._apart[cell]
        return cell, distances

    def _enough(self, draw: np.random.Generator) -> int:
        """Return how many cells must be probed, and set the estimated recall.

        A sampled vector gets a partner exactly at the threshold, which differs from it in the direction of
        another sampled vector. Real duplicates are more similar than that, so their partners are in nearer
        cells.
        """
        import numpy as np

        n = len(self._cosines.rows)
        vectors = self._cosines.of(np.sort(draw.integers(0, n, SAMPLED)))
        others = self._cosines.of(draw.integers(0, n, SAMPLED))
        others = others - (vectors * others).sum(axis=1, keepdims=True) * vectors
        others /= np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-6)
        t = float(self._cosines.threshold)
        partners = np.float32(t) * vectors + np.float32((1.0 - t * t) ** 0.5) * others
        _, distances = self._planes(vectors)
        cells, _ = self._planes(partners)
        ranks = np.sort((distances < distances[np.arange(len(cells)), cells][:, None]).sum(axis=1))
        probed = int(ranks[int(np.ceil(RECALL * len(ranks))) - 1]) + 1
        within = float((distances <= self._reach).sum(axis=1).mean())
        if within <= max(probed, len(self._centroids) * WORTHWHILE):
            probed = len(self._centroids)
        self.recall = float((ranks < probed).mean())
        return probed
