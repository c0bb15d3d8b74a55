"""``select: nearest``: choose the rows whose embeddings are closest to those of a target task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ...contracts.context import Context
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows
from ..embeddings.embed_column import embed_rows
from .towards_target import TowardsTarget

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WHO = "select: nearest"


class SelectNearest(TowardsTarget):
    """Keeps the rows whose embeddings are closest to the rows of a target task.

    With ``take: round_robin`` each row of the target chooses its closest row that is left, in turns, so that
    every kind of target row is served. With an embedder that pools a language model's hidden states by
    position, this is RDS+ (Ivison et al., arXiv 2503.01807). Rows without text fail.

    Filters:
        not_nearest: other rows are closer to the target; the score is the highest cosine with a target row.

    Example:
        chosen: {select: nearest, towards: tasks, rows: 1000, columns: [prompt], from: pool}
    """

    take: Literal["round_robin", "mean", "max"] = "round_robin"
    """How rows are chosen: each target row takes its closest in turns (`round_robin`), or by the highest
    `mean` or `max` cosine with the target's rows."""

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Judge all rows. Raises DataError if a column is missing or the target has no text."""
        import numpy as np

        target = self.target_vectors(context, _WHO)
        embedded = embed_rows(rows, self.columns, self.embedder, context, _WHO)
        usable = embedded.usable
        cosines = embedded.vectors[usable] @ target.T
        score = np.full(rows.num_rows, np.nan)
        score[usable] = np.clip(cosines.max(axis=1), -1.0, 1.0) if len(usable) else []
        kept = np.zeros(rows.num_rows, dtype=bool)
        kept[usable[self._chosen(cosines)]] = True
        return TableResult(
            kept=kept,
            rule="not_nearest",
            score=score,
            errors=embedded.errors if any(embedded.errors) else None,
            summary={
                "target_rows": len(target),
                "mean_score": float(np.nanmean(score)) if len(usable) else None,
                "mean_score_of_chosen": float(score[kept].mean()) if kept.any() else None,
            },
        )

    def _chosen(self, cosines: NDArray[np.float32]) -> NDArray[np.int64]:
        import numpy as np

        if self.take == "round_robin":
            return np.array(round_robin(cosines, self.rows), dtype=np.int64)
        worth = cosines.mean(axis=1) if self.take == "mean" else cosines.max(axis=1)
        return np.argsort(-worth, kind="stable")[: self.rows]


def round_robin(cosines: NDArray[np.float32], rows: int) -> list[int]:
    """The rows that the columns choose in turns, each its highest one that is left; at most ``rows``.

    ``cosines``: float32 ``(candidates, targets)``. Ties go to the earlier row.
    """
    import numpy as np

    wanted = min(rows, len(cosines))
    chosen: dict[int, None] = {}
    orders = [iter(np.argsort(-column, kind="stable")[:wanted].tolist()) for column in cosines.T]
    while len(chosen) < wanted:
        for order in orders:
            row = next((row for row in order if row not in chosen), None)
            if row is not None and len(chosen) < wanted:
                chosen[row] = None
    return list(chosen)
