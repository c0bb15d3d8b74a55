"""Rows that mean the same as an evaluation item, by the cosine of their embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...contracts.context import Context
from ..embeddings.embed_column import embed
from .evaluation_items import SEMANTIC, Matched

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_WHO = "decontaminate"
#: Rounding error of a cosine of float32 vectors.
ROUNDING = 1e-5
#: Texts of rows that are compared with all items at once.
BLOCK = 1024


class Meaning:
    """The embeddings of the items: of each of their columns on its own."""

    def __init__(self, items: pa.Table, threshold: float, embedder: str | None, context: Context) -> None:
        """``items``: columns of texts. ``threshold``: the smallest cosine of a match."""
        import numpy as np

        self._threshold, self._embedder, self._context = threshold, embedder, context
        made = [embed(items, [name], embedder, context, _WHO) for name in items.column_names]
        self._owner = np.concatenate([each.usable for each in made])
        filled = [each.vectors[each.usable] for each in made if len(each.usable)]
        self._vectors = np.concatenate(filled) if filled else np.zeros((0, 1), np.float32)

    def match(
        self, table: pa.Table, places: NDArray[np.int64], matched: Matched, bad: NDArray[np.bool_]
    ) -> None:
        """Add the rows that mean the same as an item to ``matched`` and ``bad``.

        ``table``: columns of texts; ``places``: where its rows are in the two. Rows that are bad for another
        reason stay as they are.
        """
        import numpy as np

        if not len(self._owner):
            return
        before = bad[places]
        best, item = np.full(len(places), -1.0), np.full(len(places), -1, np.int64)
        for name in table.column_names:
            made = embed(table.select([name]), [name], self._embedder, self._context, _WHO)
            for start in range(0, len(made.usable), BLOCK):
                self._context.check()
                rows = made.usable[start : start + BLOCK]
                nearest, cosine = self._nearest(made.vectors[rows])
                better = cosine > best[rows]
                best[rows[better]], item[rows[better]] = cosine[better], self._owner[nearest[better]]
        close = ~before & (best >= self._threshold - ROUNDING)
        where = places[close]
        bad[where], matched.kind[where] = True, SEMANTIC
        matched.item[where], matched.score[where] = item[close], best[close]

    def _nearest(self, vectors: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The nearest text of an item to each vector, and its cosine."""
        import numpy as np

        cosines = vectors @ self._vectors.T
        # Products of other sizes round differently: the first of (nearly) equal texts is taken.
        nearest = (cosines >= cosines.max(axis=1, keepdims=True) - ROUNDING).argmax(axis=1)
        pairs = vectors.astype(np.float64), self._vectors[nearest].astype(np.float64)
        return nearest, np.minimum(np.einsum("ij,ij->i", *pairs), 1.0)
