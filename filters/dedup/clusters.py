"""Which rows survive, given the pairs of near-duplicates."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Clusters = Literal["components", "greedy"]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of near-duplicates: two numbers of rows in order of preference, int64 ``(pairs,)``, and their
    similarity, float64 ``(pairs,)``."""

    earlier: NDArray[np.int64]
    later: NDArray[np.int64]
    similarity: NDArray[np.float64]

    def where(self, chosen: NDArray[np.bool_]) -> Pairs:
        return Pairs(self.earlier[chosen], self.later[chosen], self.similarity[chosen])


def component_survivors(rows: int, pairs: Pairs) -> NDArray[Any]:
    """Return the first row of each row's connected component, int32 ``(rows,)``, int64 beyond its range."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = (np.ones(len(pairs.earlier), np.int8), (pairs.earlier, pairs.later))
    count, labels = connected_components(coo_array(edges, shape=(rows, rows)), directed=False)
    first = np.empty(count, labels.dtype)
    first[labels[::-1]] = np.arange(
        rows - 1, -1, -1, dtype=labels.dtype
    )  # the last one written is the first row
    survivors: NDArray[Any] = first[labels]
    return survivors


def greedy_survivors(rows: int, pairs: Pairs) -> NDArray[np.int64]:
    """Return the survivor that each row is most similar to, or the row itself if it survives; int64
    ``(rows,)``.

    A row survives unless it is paired with an earlier survivor.
    """
    import numpy as np

    order = np.lexsort((pairs.earlier, -pairs.similarity, pairs.later))
    survivors = list(range(rows))
    decided = zip(pairs.later[order].tolist(), pairs.earlier[order].tolist())
    for row, others in groupby(decided, itemgetter(0)):
        near = (other for _, other in others if survivors[other] == other)
        survivors[row] = next(near, row)
    return np.array(survivors, dtype=np.int64)
