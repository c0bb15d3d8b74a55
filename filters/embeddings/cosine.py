"""Exact nearest neighbors by cosine among unit vectors, in blocks of bounded memory.

Most pairs are excluded by a bound from the Cauchy-Schwarz inequality. The vectors are rotated so that their
first m coordinates hold most of the length. Then x.y <= x1.y1 + |x2||y2|, which is a product of m + 1
numbers. Only pairs whose bound reaches the threshold are computed in full, so the result is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK = 1024
#: Columns of kept vectors compared at once: with BLOCK float32 rows, 32 MiB of bounds.
SPAN = 8192
#: Leading coordinates are taken until the rest holds at most this share of the squared length.
#: The bound of an unrelated pair is then far below any useful threshold.
REST = 0.35
#: Rounding error of a cosine of float32 vectors. Equal texts must pass a threshold of 1.
ROUNDING = 1e-5


def greedy_duplicates(
    vectors: NDArray[np.float32],
    threshold: float,
    check: Callable[[int], None] = lambda done: None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Go through the vectors in order; a vector within ``threshold`` of a kept one is a duplicate.

    ``vectors``: float32 ``(n, d)``, unit rows. ``threshold``: a cosine in (0, 1]. ``check``: called once per
    block with the number of rows done. Returns two arrays: ``duplicate_of``, int64 ``(n,)``, the most similar
    earlier kept vector (the first of equals), or -1 for a kept vector; and its cosine, float64 ``(n,)``, NaN
    for a kept vector. Kept vectors are pairwise below the threshold. The cost is at most n * kept * d
    multiplications, and a fraction m / d of that if the vectors have m significant directions (about 60 of
    384 for MiniLM).
    """
    import numpy as np

    n = len(vectors)
    duplicate_of = np.full(n, -1, dtype=np.int64)
    score = np.full(n, np.nan)
    leading = _with_bounds(vectors)
    kept = np.empty(n, dtype=np.int64)
    count = 0
    limit = np.float32(threshold - ROUNDING)
    for start in range(0, n, BLOCK):
        check(start)
        stop = min(start + BLOCK, n)
        best = np.full(stop - start, -1.0, dtype=np.float64)
        who = np.full(stop - start, -1, dtype=np.int64)
        for low in range(0, count, SPAN):
            some = kept[low : min(low + SPAN, count)]
            rows, columns, cosines = _close_pairs(vectors, leading, slice(start, stop), some, limit)
            _raise_best(best, who, rows, some[columns], cosines)
        # Within the block, a row can only duplicate an earlier row that is itself kept.
        rows, columns, cosines = _close_pairs(
            vectors, leading, slice(start, stop), np.arange(start, stop), limit
        )
        before = columns < rows
        rows, columns, cosines = rows[before], columns[before], cosines[before]
        edges = np.searchsorted(rows, np.arange(stop - start + 1))
        dropped = who >= 0
        for row in np.unique(rows).tolist():
            span = slice(edges[row], edges[row + 1])
            alive = ~dropped[columns[span]]
            if alive.any():
                candidates, values = columns[span][alive], cosines[span][alive]
                top = int(values.argmax())
                if values[top] > best[row]:
                    best[row], who[row] = values[top], start + candidates[top]
                dropped[row] = True
        duplicate_of[start:stop], score[start:stop] = who, np.where(dropped, np.minimum(best, 1.0), np.nan)
        fresh = np.flatnonzero(~dropped) + start
        kept[count : count + len(fresh)] = fresh
        count += len(fresh)
    return duplicate_of, score


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


def _with_bounds(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return leading coordinates and the length of the rest: a product of two rows bounds their cosine.

    If more than half of the coordinates are needed, the vectors themselves are returned: the bound would cost
    more than it saves.
    """
    import numpy as np

    n, d = vectors.shape
    if not n:
        return vectors
    sample = vectors[:: max(1, n // 20_000)].astype(np.float64)
    energy, directions = np.linalg.eigh(sample.T @ sample)
    held = np.cumsum(energy[::-1]) / energy.sum()
    leading = int(np.searchsorted(held, 1.0 - REST)) + 1
    if leading + 1 > d // 2:
        return vectors
    axes = directions[:, ::-1][:, :leading].astype(np.float32)
    first = vectors @ axes
    rest = np.sqrt(np.maximum(np.sum(vectors**2, axis=1) - np.sum(first**2, axis=1), 0.0))
    return np.ascontiguousarray(np.column_stack((first, rest)), dtype=np.float32)


def _close_pairs(
    vectors: NDArray[np.float32],
    leading: NDArray[np.float32],
    rows: slice,
    columns: NDArray[np.int64],
    limit: np.float32,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """(row, column, cosine) of the pairs that reach ``limit``, by row, then by column."""
    import numpy as np

    bounds = leading[rows] @ leading[columns].T
    # The rotation rounds too, so the bound gets a larger tolerance than the cosine.
    candidates = np.flatnonzero(bounds >= limit - np.float32(ROUNDING))
    row, column = np.divmod(candidates, len(columns))
    if len(candidates) * 8 > bounds.size:
        cosines = (vectors[rows] @ vectors[columns].T)[row, column]
    else:
        cosines = np.empty(len(candidates), dtype=np.float32)
        for low in range(0, len(candidates), SPAN):
            part = slice(low, low + SPAN)
            left, right = vectors[rows][row[part]], vectors[columns[column[part]]]
            cosines[part] = np.einsum("ij,ij->i", left, right)
    close = cosines >= limit
    return row[close], column[close], cosines[close].astype(np.float64)


def _raise_best(
    best: NDArray[np.float64],
    who: NDArray[np.int64],
    rows: NDArray[np.int64],
    others: NDArray[np.int64],
    cosines: NDArray[np.float64],
) -> None:
    """Update ``best`` and ``who`` with the most similar of the pairs."""
    import numpy as np

    order = np.lexsort((others, -cosines, rows))
    rows, others, cosines = rows[order], others[order], cosines[order]
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    rows, others, cosines = rows[first], others[first], cosines[first]
    better = cosines > best[rows]
    best[rows[better]], who[rows[better]] = cosines[better], others[better]
