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

    survivors: NDArray[Any] = np.arange(rows, dtype=np.int32 if rows < 1 << 31 else np.int64)
    in_pair = np.zeros(rows, bool)
    in_pair[pairs.earlier] = in_pair[pairs.later] = True
    some = np.flatnonzero(in_pair)  # few of many rows, mostly: the graph has no others
    place = np.zeros_like(survivors)
    place[some] = np.arange(len(some))
    edges = (np.ones(len(pairs.earlier), np.int8), (place[pairs.earlier], place[pairs.later]))
    count, labels = connected_components(coo_array(edges, shape=(len(some), len(some))), directed=False)
    first = np.empty(count, np.int64)
    first[labels[::-1]] = some[::-1]  # the last one written is the first row
    survivors[some] = first[labels]
    return survivors


def greedy_survivors(rows: int, pairs: Pairs) -> NDArray[np.int64]:
    """Return the survivor that each row is most similar to, or the row itself if it survives; int64
    ``(rows,)``.

    A row survives unless it is paired with an earlier survivor.
    """
    import numpy as np

    order = np.lexsort((pairs.earlier, -pairs.similarity, pairs.later))
    gone: dict[int, int] = {}  # the survivor of each row that does not survive
    decided = zip(pairs.later[order].tolist(), pairs.earlier[order].tolist())
    for row, others in groupby(decided, itemgetter(0)):
        near = next((other for _, other in others if other not in gone), None)
        if near is not None:
            gone[row] = near
    survivors = np.arange(rows, dtype=np.int64)
    survivors[list(gone)] = list(gone.values())
    return survivors
