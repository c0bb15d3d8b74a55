"""Cosines of unit vectors: the pairs that reach a threshold, and the nearest neighbors.

Most pairs are excluded by a bound from the Cauchy-Schwarz inequality. The vectors are rotated so that their
first m coordinates hold most of the length. Then x.y <= x1.y1 + |x2||y2|, which is a product of m + 1
numbers. Only pairs whose bound reaches the threshold are computed in full, in float64 and each on its own, so
the result is exact and does not depend on blocks or threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import numpy as np
    from numpy.typing import NDArray

BLOCK = 1024
#: Columns compared with a block at once: with BLOCK float32 rows, 8 MiB of bounds per thread.
SPAN = 2048
#: Rounding error of a bound or cosine in float32.
ROUNDING = 3e-5
#: Cosines are rounded to this many decimals, far below what float32 vectors hold: equal vectors have exactly
#: 1.
DECIMALS = 9
#: Vectors on which the number of leading coordinates is chosen.
SAMPLE = 1024
#: The cost of a cosine in full, and of looking at a bound, in coordinates of a product of matrices.
FULL_COST, BOUND_COST = 200_000, 8


class Cosines:
    """Exact cosines of float32 vectors ``(n, d)``, and the bounds that exclude most pairs.

    ``threshold``: the cosine that a pair must reach. ``rows``: the vectors to use, in an order of which the
    other methods take positions. Keeps about d / 8 float32 numbers per vector in memory, and reads the
    vectors where they are (they may be a memory map).
    """

    def __init__(
        self, vectors: NDArray[np.float32], rows: NDArray[np.int64], threshold: float, threads: Executor
    ) -> None:
        import numpy as np

        self.vectors, self.rows, self._threads = vectors, rows, threads
        self.threshold = np.round(threshold, DECIMALS)
        self._limit = np.float32(threshold - ROUNDING)
        self._axes = self._choose_axes()
        width = self._axes.shape[1] + 1
        self._bounds = np.empty((len(rows), width), dtype=np.float32)
        self._lengths = np.empty(len(rows))
        for start in range(0, len(rows), SPAN):
            block = slice(start, start + SPAN)
            chosen = self.of(block)
            self._bounds[block] = _with_rest(chosen, self._axes)
            exact = chosen.astype(np.float64)
            self._lengths[block] = np.sqrt((exact * exact).sum(axis=1))

    def of(self, positions: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors at these positions, float32 ``(positions, d)``."""
        found: NDArray[np.float32] = self.vectors[self.rows[positions]]
        return found

    def close(
        self, pairs: Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
        """Yield the pairs of a left and a right position that reach the threshold, and their cosines.

        ``pairs``: left and right positions to compare, each left with each right. They are compared in
        blocks, on several threads; the results come in a fixed order.
        """
        blocks = [
            (left[start : start + BLOCK], right[low : low + SPAN])
            for left, right in pairs
            for start in range(0, len(left), BLOCK)
            for low in range(0, len(right), SPAN)
        ]
        yield from self._threads.map(self._close_block, *zip(*blocks)) if blocks else ()

    def _close_block(
        self, left: NDArray[np.int64], right: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        import numpy as np

        bounds = self._bounds[left] @ self._bounds[right].T
        some = np.flatnonzero(bounds.max(axis=1) >= self._limit)
        row, column = np.divmod(np.flatnonzero(bounds[some] >= self._limit), len(right))
        first, second = left[some[row]], right[column]
        cosines = np.empty(len(first))
        for low in range(0, len(first), SPAN):
            part = slice(low, low + SPAN)
            cosines[part] = self._exact(first[part], second[part])
        reached = cosines >= self.threshold
        return first[reached], second[reached], cosines[reached]

    def _exact(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
        """Each pair is summed on its own, so that a cosine does not depend on the pairs beside it."""
        import numpy as np

        products = (self.of(first).astype(np.float64) * self.of(second)).sum(axis=1)
        scale = self._lengths[first] * self._lengths[second]
        cosines = np.divide(products, scale, out=np.zeros(len(first)), where=scale > 0)
        found: NDArray[np.float64] = np.clip(np.round(cosines, DECIMALS), -1.0, 1.0)
        return found

    def _choose_axes(self) -> NDArray[np.float32]:
        """Return the main directions of the vectors, ``(d, m)``, as many as make the search cheapest.

        With few, a bound costs little but excludes less. The share that is not excluded is counted on pairs
        of a sample.
        """
        import numpy as np

        width = self.vectors.shape[1]
        some = np.linspace(0, len(self.rows) - 1, min(len(self.rows), SAMPLE)).astype(np.int64)
        sample = self.of(some).astype(np.float64)
        directions = np.linalg.eigh(sample.T @ sample)[1][:, ::-1].astype(np.float32)
        pairs = max(1, len(some) * (len(some) - 1) // 2)
        best, least = directions, float(width)
        for share in (48, 24, 16, 12, 8, 6, 4, 3, 2):
            axes = directions[:, : max(1, width // share)]
            bounds = _with_rest(sample.astype(np.float32), axes)
            reached = int(np.triu(bounds @ bounds.T >= self._limit, 1).sum())
            cost = axes.shape[1] + BOUND_COST + FULL_COST * reached / pairs
            if cost < least:
                best, least = axes, cost
        return np.ascontiguousarray(best)


def nearest_cosine(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosine of each vector's nearest other vector, float64 ``(n,)``; NaN if there is none."""
    import numpy as np

    n = len(vectors)
    nearest = np.full(n, np.nan)
    for start in range(0, n if n > 1 else 0, BLOCK):
        stop = min(start + BLOCK, n)
        best = np.full(stop - start, -np.inf, dtype=np.float32)
        for low in range(0, n, SPAN):
            high = min(low + SPAN, n)
            cosines = vectors[start:stop] @ vectors[low:high].T
            own = np.arange(max(start, low), min(stop, high))
            cosines[own - start, own - low] = -np.inf
            np.maximum(best, cosines.max(axis=1), out=best)
        nearest[start:stop] = np.clip(best, -1.0, 1.0)
    return nearest


def _with_rest(vectors: NDArray[np.float32], axes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the coordinates along ``axes`` and the length of the rest, float32 ``(n, m + 1)``.

    The product of two such rows is at least the cosine of the vectors.
    """
    import numpy as np

    first = vectors @ axes
    rest = np.sqrt(np.maximum(np.sum(vectors**2, axis=1) - np.sum(first**2, axis=1), 0.0))
    return np.column_stack((first, rest)).astype(np.float32)
