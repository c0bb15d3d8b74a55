"""``score: neighbor_distance``: how far a row lies from the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from ...contracts.context import Context
from ...contracts.operators import EmbedderRef, WholeTable
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows
from ..embeddings.embed_column import embed_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WHO = "score: neighbor_distance"
#: Smallest distance: the logarithm of equal texts stays finite.
SMALLEST = 1e-3
BLOCK = 1024


class NeighborDistance(WholeTable):
    """Scores how far a row lies from its nearest neighbors: rows in sparse regions add diversity.

    The logarithm of the distance to the k-th nearest neighbor is the row's share of the k-nearest-neighbor
    estimate of the entropy of the rows (Kozachenko and Leonenko, 1987), which FiFA (Yang et al., arXiv
    2410.10166) adds to preference margin and text quality. Rows without text fail.

    Adds:
        neighbor_distance (float64): Euclidean distance of the unit vectors to the k-th nearest other row,
            0 to 2; null if there are k rows or fewer.
        neighbor_entropy (float64): its natural logarithm, at least that of 0.001.

    Example:
        spread: {score: neighbor_distance, columns: [prompt], neighbors: 5, from: pairs}
    """

    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("prompt",)
    """Columns to embed, joined by line breaks."""
    neighbors: PositiveInt = 5
    """Which nearest neighbor is measured."""
    embedder: EmbedderRef | None = None
    """Model with `engine: embedder`. By default the packaged MiniLM."""

    def uses_columns(self) -> Iterable[str]:
        return self.columns

    def uses_text(self) -> Iterable[str]:
        return self.columns

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, "neighbor_distance", "neighbor_entropy"]

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Score all rows. Raises DataError if a column is missing or not text."""
        import numpy as np
        import pyarrow as pa

        embedded = embed_rows(rows, self.columns, self.embedder, context, _WHO)
        distances = np.full(rows.num_rows, np.nan)
        distances[embedded.usable] = neighbor_distances(
            embedded.vectors[embedded.usable], self.neighbors, context
        )
        known = np.isfinite(distances)
        entropy = np.log(np.maximum(distances, SMALLEST), where=known, out=np.zeros(len(known)))
        return TableResult(
            columns={
                "neighbor_distance": pa.array(distances, mask=~known),
                "neighbor_entropy": pa.array(entropy, mask=~known),
            },
            errors=embedded.errors if any(embedded.errors) else None,
            summary={"mean_entropy": float(entropy[known].mean()) if known.any() else None},
        )


def neighbor_distances(vectors: NDArray[np.float32], neighbors: int, context: Context) -> NDArray[np.float64]:
    """The Euclidean distance of each unit vector to its k-th nearest other one, float64 ``(n,)``; NaN without
    one."""
    import numpy as np

    n = len(vectors)
    found = np.full(n, np.nan)
    for start in range(0, n if n > neighbors else 0, BLOCK):
        context.check()
        context.progress(start, n, "rows")
        cosines = vectors[start : start + BLOCK] @ vectors.T
        rows = np.arange(len(cosines))
        cosines[rows, rows + start] = -np.inf
        nearest = np.partition(cosines, n - neighbors, axis=1)[:, n - neighbors]
        found[start : start + BLOCK] = np.sqrt(np.maximum(2.0 - 2.0 * nearest.astype(np.float64), 0.0))
    return found
