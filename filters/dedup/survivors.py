"""The row that survives for each row, and how similar the two are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .sketch_index import IndexPairs
from .sketches import Sketches

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Survivors:
    """For each sketch: ``row``, the row's number in the step; ``kept`` (bool); ``place`` of the sketch that
    survives for it (its own if it is kept); ``in_index`` (bool: a row of the index survives instead);
    ``score`` (float64: the Jaccard similarity with that row; NaN if it is kept).

    ``index_ids``: the ids of the index's rows, one per true ``in_index``.
    """

    row: NDArray[Any]
    kept: NDArray[np.bool_]
    place: NDArray[np.int64]
    in_index: NDArray[np.bool_]
    score: NDArray[np.float64]
    index_ids: Sequence[str]

    @classmethod
    def of_nodes(
        cls, sketches: Sketches, nodes: NDArray[np.int64], numbers: NDArray[np.int64], known: IndexPairs
    ) -> Survivors:
        """``nodes``: the survivor of each sketch, below ``len(numbers)`` a row of the index (its place in
        ``numbers``), else ``len(numbers)`` plus a rank among the leaders."""
        import numpy as np

        leader = sketches.leader
        every = np.arange(len(sketches), dtype=leader.dtype)
        in_index = nodes < len(numbers)
        place = every.copy()
        place[~in_index] = sketches.leaders[nodes[~in_index] - len(numbers)]
        kept = (place == every) & ~in_index
        # Rows with the same set as their leader have its similarity with every other row.
        score = np.where(kept, np.nan, 1.0)
        near = np.flatnonzero((leader == every) & ~kept & ~in_index)
        score[near] = sketches.similarity(place[near], near)
        near = np.flatnonzero((leader == every) & in_index)
        index_ids: list[str] = []
        if len(near):
            found = known.rows(numbers)
            score[near] = sketches.similarity_to(found.sets, nodes[near], near)
            index_ids = [found.ids[node] for node in nodes[in_index].tolist()]
        copies = ~kept & (leader != every) & (place != leader)
        score[copies] = score[leader[copies]]
        return cls(sketches.row, kept, place, in_index, score, index_ids)
