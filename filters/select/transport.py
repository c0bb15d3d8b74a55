"""``select: transport``: choose the rows that move the data most towards a target distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ...contracts.context import Context
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows
from ..embeddings.embed_column import embed_rows
from .towards_target import TowardsTarget

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WHO = "select: transport"
#: Sinkhorn's iteration ends when the marginals are met to this share, or after this many rounds.
TOLERANCE = 1e-4
ROUNDS = 500


class SelectTransport(TowardsTarget):
    """Keeps the rows whose share in the data most reduces its optimal-transport distance to a target.

    The gradient of the distance with respect to a row's share is its dual potential, less the mean of the
    others'. Rows with the most negative gradient move the whole distribution fastest towards the target,
    rather than only resembling it: GOT-D (Kang et al., arXiv 2405.02774), for data to train on before the
    fine-tuning itself. The transport is entropic (Cuturi, arXiv 1306.0895), with the cost 1 - cosine. Rows
    without text fail.

    Filters:
        transport: other rows move the data more towards the target; the score is minus the gradient.

    Example:
        warm_up: {select: transport, towards: tasks, rows: 1000, columns: [prompt], from: pool}
    """

    regularization: Annotated[float, Field(gt=0)] = 0.02
    """Entropic regularization, in units of the cost. A smaller value is closer to the exact transport and
    takes more iterations."""

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Judge all rows. Raises DataError if a column is missing or the target has no text."""
        import numpy as np

        target = self.target_vectors(context, _WHO)
        embedded = embed_rows(rows, self.columns, self.embedder, context, _WHO)
        usable = embedded.usable
        score = np.full(rows.num_rows, np.nan)
        kept = np.zeros(rows.num_rows, dtype=bool)
        distance = None
        if len(usable):
            cost = 1.0 - embedded.vectors[usable] @ target.T
            potentials, distance = transport_potentials(cost, self.regularization, context)
            score[usable] = -calibrated(potentials)
            kept[usable[np.argsort(-score[usable], kind="stable")[: self.rows]]] = True
        return TableResult(
            kept=kept,
            rule="transport",
            score=score,
            errors=embedded.errors if any(embedded.errors) else None,
            summary={"target_rows": len(target), "transport_distance": distance},
        )


def calibrated(potentials: NDArray[np.float64]) -> NDArray[np.float64]:
    """The gradient of the distance with respect to each row's share, the others sharing the rest equally."""
    import numpy as np

    n = len(potentials)
    if n < 2:
        return np.zeros(n)
    gradient: NDArray[np.float64] = potentials - (potentials.sum() - potentials) / (n - 1)
    return gradient


def transport_potentials(
    cost: NDArray[np.float32], regularization: float, context: Context
) -> tuple[NDArray[np.float64], float]:
    """The dual potentials of the rows, float64 ``(rows,)``, and the entropic dual's value.

    ``cost``: ``(rows, targets)``, both with equal weights. Sinkhorn's iteration in the log domain.
    """
    import numpy as np
    from scipy.special import logsumexp

    n, m = cost.shape
    scaled = -cost.astype(np.float64) / regularization
    log_row, log_column = -np.log(n), -np.log(m)
    f, g = np.zeros(n), np.zeros(m)
    for turn in range(ROUNDS):
        context.check()
        context.progress(turn, ROUNDS, "iterations")
        f = log_row - logsumexp(scaled + g, axis=1)
        columns = logsumexp(scaled + f[:, None], axis=0)
        # Columns of the plan before their update: equal to their weights once the iteration has converged.
        error = np.abs(np.exp(columns + g - log_column) - 1.0).max()
        g = log_column - columns
        if error < TOLERANCE:
            break
    # Written with weights, the potentials of the plan exp((f + g - cost) / regularization) / (n m).
    rows, targets = regularization * (f - log_row), regularization * (g - log_column)
    return rows, float(rows.mean() + targets.mean())
