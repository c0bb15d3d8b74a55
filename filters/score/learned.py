"""``score: learned``: a cheap model of an expensive judgment, fitted on the rows that have it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from ...contracts.context import Context
from ...contracts.errors import DataError
from ...contracts.operators import EmbedderRef, WholeTable
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows
from ..embeddings.embed_column import embed_rows
from ..select.random import draws_of
from ..stored_columns import numbers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WHO = "score: learned"
#: Parts of the labelled rows: each is predicted by a fit on the others.
FOLDS = 5
#: Fewer labels than this fit nothing.
LEAST = 2 * FOLDS


class LearnedScore(WholeTable):
    """Predicts an expensive judgment of every row from the rows that have one.

    Ridge regression over the rows' embeddings. A labelled row is predicted by a fit on the other parts of the
    labelled rows, so its own label does not help it. Used for IterSelectTune (Song et al., arXiv 2410.13464),
    where a small model learns a judge's verdicts on a sample and scores the whole pool, and for MATES (Yu et
    al., arXiv 2406.06046), where it learns the influence of rows on a reference loss. Rows without text fail.

    Adds:
        predicted (float64): the predicted label.

    Example:
        worth: {score: learned, label: judge_score, columns: [prompt], from: judged}
    """

    seeded: ClassVar[bool] = True

    label: str
    """Column with the judgment, a number or a boolean; null where it is unknown."""
    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("prompt", "response")
    """Columns to embed, joined by line breaks."""
    embedder: EmbedderRef | None = None
    """Model with `engine: embedder`. By default the packaged MiniLM."""
    penalty: Annotated[float, Field(gt=0)] = 1.0
    """L2 penalty of the ridge regression; a larger one gives a smoother prediction."""

    def uses_columns(self) -> Iterable[str]:
        return (*self.columns, self.label)

    def uses_text(self) -> Iterable[str]:
        return self.columns

    def uses_numbers(self) -> Iterable[str]:
        return (self.label,)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, "predicted"]

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Score all rows. Raises DataError if fewer than 10 rows with text are labelled."""
        import numpy as np
        import pyarrow as pa

        labels = numbers(rows, self.label, _WHO)
        embedded = embed_rows(rows, self.columns, self.embedder, context, _WHO)
        usable = embedded.usable
        vectors, labels = embedded.vectors[usable].astype(np.float64), labels[usable]
        known = np.flatnonzero(np.isfinite(labels))
        if len(known) < LEAST:
            raise DataError(
                f"{_WHO} needs at least {LEAST} rows with a number in '{self.label}', found {len(known)}"
            )
        draws = draws_of(rows, context.seed)[usable]
        predicted = _predictions(vectors, labels, known, draws, self.penalty)
        column = np.full(rows.num_rows, np.nan)
        column[usable] = predicted
        return TableResult(
            columns={"predicted": pa.array(column, mask=np.isnan(column))},
            errors=embedded.errors if any(embedded.errors) else None,
            summary=_told(predicted[known], labels[known]),
        )


def _predictions(
    vectors: NDArray[np.float64],
    labels: NDArray[np.float64],
    known: NDArray[np.int64],
    draws: NDArray[np.float64],
    penalty: float,
) -> NDArray[np.float64]:
    import numpy as np
    from sklearn.linear_model import Ridge
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        predicted: NDArray[np.float64] = Ridge(penalty).fit(vectors[known], labels[known]).predict(vectors)
        part = np.empty(len(known), dtype=np.int64)
        part[np.argsort(draws[known], kind="stable")] = np.arange(len(known)) % FOLDS
        for fold in range(FOLDS):
            others, own = known[part != fold], known[part == fold]
            predicted[own] = Ridge(penalty).fit(vectors[others], labels[others]).predict(vectors[own])
    return predicted


def _told(predicted: NDArray[np.float64], labels: NDArray[np.float64]) -> dict[str, Any]:
    """How well the labelled rows are predicted by the fits that did not see them."""
    import numpy as np

    vary = np.std(predicted) > 0 and np.std(labels) > 0
    return {
        "labels": len(labels),
        "correlation": float(np.corrcoef(predicted, labels)[0, 1]) if vary else None,
        "mean_squared_error": float(np.mean((predicted - labels) ** 2)),
        "variance_of_labels": float(np.var(labels)),
    }
