"""The greedy choice of vectors that are pairwise dissimilar, among any number of vectors.

Up to ``EXACT_ROWS`` vectors all pairs are considered. Beyond, the vectors are divided into cells by k-means,
and a vector is compared with the kept vectors of the cells that can hold one as similar (see ``cells.py``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .cells import Cells
from .cosine import BLOCK, Cosines

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Up to this many vectors all pairs are about as fast as cells.
EXACT_ROWS = 200_000
#: Vectors that are looked up in the cells at once. Among each other, all pairs are considered.
CELL_BLOCK = 8192


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The result for the vectors in order.

    ``duplicate_of``: int64 ``(n,)``, the position of the most similar earlier kept vector (the first of
    equals), or -1 for a kept vector. ``score``: its cosine, float64 ``(n,)``, NaN for a kept vector.
    ``promise``: how the search was done, for the report.
    """

    duplicate_of: NDArray[np.int64]
    score: NDArray[np.float64]
    promise: Mapping[str, Any] = field(default_factory=dict)


def greedy_duplicates(
    vectors: NDArray[np.float32],
    threshold: float,
    *,
    order: NDArray[np.int64] | None = None,
    method: Literal["auto", "pairs", "cells"] = "auto",
    seed: int = 0,
    check: Callable[[int], None] = lambda done: None,
) -> Duplicates:
    """Go through the vectors in order; a vector within ``threshold`` of a kept one is a duplicate.

    ``vectors``: float32 ``(n, d)``, finite unit rows, which may be a memory map. ``threshold``: a cosine in
    (0, 1]. ``order``: the rows to go through; by default all. ``method``: ``pairs`` considers all pairs,
    ``cells`` those that :class:`Cells` finds; ``auto`` decides by the number of rows. ``check``: called with
    the number of rows done. With ``pairs``, the kept vectors are pairwise below the threshold, so that a
    second search finds nothing. The result does not depend on the number of threads.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    order = np.arange(len(vectors), dtype=np.int64) if order is None else order
    # Several small products at once are faster than one at a time on several cores.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(_cores()) as threads:
        greedy = _Greedy(Cosines(vectors, order, threshold, threads))
        if method == "cells" or (method == "auto" and len(order) > EXACT_ROWS):
            promise = greedy.judge_by_cells(Cells(greedy.cosines, seed), check)
        else:
            greedy.judge(np.arange(len(order)), check)
            promise = {"method": "pairs"}
    return Duplicates(greedy.who, np.where(greedy.who < 0, np.nan, greedy.best), promise)


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Greedy:
    """``best``, ``who``: for each position the highest cosine found so far, and of which kept position."""

    def __init__(self, cosines: Cosines) -> None:
        import numpy as np

        n = len(cosines.rows)
        self.cosines = cosines
        self.best = np.full(n, -1.0)
        self.who = np.full(n, -1, dtype=np.int64)

    def judge_by_cells(self, cells: Cells, check: Callable[[int], None]) -> Mapping[str, Any]:
        """Go through all positions, comparing them with the kept in the cells that they probe."""
        import numpy as np

        n = len(self.who)
        for start in range(0, n, CELL_BLOCK):
            rows = np.arange(start, min(start + CELL_BLOCK, n))
            self.compare(cells.to_compare(rows))
            self.judge(rows, check)
            cells.keep(rows[self.who[rows] < 0])
        return cells.promise()

    def judge(self, rows: NDArray[np.int64], check: Callable[[int], None]) -> None:
        """Go through ``rows``, consecutive positions, comparing them with the kept among them."""
        import numpy as np

        kept = np.empty(len(rows), dtype=np.int64)
        count = 0
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            check(int(block[0]))
            self.compare([(block, kept[:count])])
            self._judge_block(block)
            fresh = block[self.who[block] < 0]
            kept[count : count + len(fresh)] = fresh
            count += len(fresh)

    def compare(self, pairs: Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> None:
        """Find the most similar kept position for each row. ``pairs``: rows, and kept positions
        (ascending)."""
        import numpy as np

        for row, other, cosine in self.cosines.close(pairs):
            order = np.lexsort((other, -cosine, row))
            row, other, cosine = row[order], other[order], cosine[order]
            first = np.flatnonzero(np.diff(row, prepend=-1))
            row, other, cosine = row[first], other[first], cosine[first]
            # Of equals the first, in whatever order the kept are compared.
            better = (cosine > self.best[row]) | ((cosine == self.best[row]) & (other < self.who[row]))
            self.best[row[better]], self.who[row[better]] = cosine[better], other[better]

    def _judge_block(self, block: NDArray[np.int64]) -> None:
        """Within a block, a row can only duplicate an earlier row that is itself kept."""
        import numpy as np

        open_rows = block[self.who[block] < 0]
        found = list(self.cosines.close([(block, open_rows)]))
        if not found:
            return
        row, other, cosine = (np.concatenate(each) for each in zip(*found))
        before = other < row
        row, other, cosine = row[before], other[before], cosine[before]
        order = np.lexsort((other, row))
        row, other, cosine = row[order], other[order], cosine[order]
        edges = np.searchsorted(row, [*np.unique(row), np.iinfo(np.int64).max])
        for low, high in zip(edges[:-1].tolist(), edges[1:].tolist()):
            alive = self.who[other[low:high]] < 0
            if not alive.any():
                continue
            candidates, values = other[low:high][alive], cosine[low:high][alive]
            top, mine = int(values.argmax()), row[low]
            if values[top] > self.best[mine]:
                self.best[mine], self.who[mine] = values[top], candidates[top]
