"""Drop rows that say the same as another row in other words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ...contracts.context import Context
from ...contracts.operators import EmbedderRef, WholeTable
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows
from ..embeddings.duplicates import greedy_duplicates
from ..embeddings.embed_column import embed_rows
from ..stored_columns import numbers, text_lengths

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WHO = "dedup: semantic"


class SemanticDedup(WholeTable):
    """Keeps rows whose embeddings are pairwise dissimilar. The others name the most similar kept row.

    The search is greedy, in order of preference. Up to 200,000 rows it considers all pairs: the kept rows are
    pairwise below the threshold. Beyond, it compares a row with the kept rows in the nearest cells of
    k-means, as SemDeDup (Abbas et al., 2023) does within one cell; the summary gives the recall that is
    expected at the threshold, at least 0.99. A cosine is computed in float64 and does not depend on the rows
    beside it. Rows without text fail, and so do rows whose vector holds NaN.

    Adds:
        embedding (list of float32): the row's unit vector, with `store_embeddings`.

    Filters:
        semantic_duplicate: too similar to a kept row; the score is the cosine.

    Example:
        unique: {dedup: semantic, from: exact, threshold: 0.92}
    """

    version: ClassVar[int] = 2

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.92
    """Smallest cosine of two embeddings that makes them duplicates, up to 1. A lower value drops more
    rows."""
    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("response",)
    """Columns to embed, joined by line breaks."""
    embedder: EmbedderRef | None = None
    """Model with `engine: embedder`. By default the packaged MiniLM."""
    survivor: Literal["first", "longest", "best"] = "first"
    """Which of several duplicates is kept: the `first`, the `longest`, or the `best` by the column `by`."""
    by: str | None = None
    """Column to rank by with `survivor: best`, highest first."""
    method: Literal["auto", "pairs", "cells"] = "auto"
    """How to search: over all `pairs` (exact; time grows with the square of the rows), by `cells` of k-means
    (may miss 1 % of the duplicates near the threshold), or `auto`: pairs up to 200,000 rows."""
    store_embeddings: bool = False
    """Add the vectors to the rows, for an export say. Later steps of the run find them without."""

    @model_validator(mode="after")
    def _by_with_best(self) -> SemanticDedup:
        if (self.survivor == "best") != (self.by is not None):
            raise ValueError("`survivor: best` and `by: COLUMN` (what to rank by) go together")
        return self

    def uses_columns(self) -> Iterable[str]:
        return self.columns if self.by is None else (*self.columns, self.by)

    def uses_text(self) -> Iterable[str]:
        return self.columns

    def uses_numbers(self) -> Iterable[str]:
        return () if self.by is None else (self.by,)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, "embedding"]

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Judge all rows. Raises DataError if a column is missing or of the wrong type."""
        import numpy as np

        order = self._order(rows)
        embedded = embed_rows(rows, self.columns, self.embedder, context, _WHO)
        usable, errors = embedded.usable, embedded.failed
        order = order[np.isin(order, usable)]

        def check(done: int) -> None:
            context.check()
            context.progress(done, len(order), "rows")

        found = greedy_duplicates(
            embedded.vectors, self.threshold, order=order, method=self.method, check=check
        )
        kept = np.ones(rows.num_rows, dtype=bool)
        score = np.full(rows.num_rows, np.nan)
        duplicate_of = np.full(rows.num_rows, -1, dtype=np.int64)
        dropped = np.flatnonzero(found.duplicate_of >= 0)
        kept[order[dropped]] = False
        score[order] = found.score
        duplicate_of[order[dropped]] = order[found.duplicate_of[dropped]]
        return TableResult(
            kept=kept,
            rule="semantic_duplicate",
            score=score,
            duplicate_of=duplicate_of,
            errors=errors,
            columns=embedded.columns() if self.store_embeddings else {},
            summary={
                "threshold": self.threshold,
                "duplicates": int((~kept).sum()),
                "mean_score": float(np.nanmean(score)) if (~kept).any() else None,
                "search": found.promise,
                **embedded.summary,
            },
        )

    def _order(self, rows: StoredRows) -> NDArray[np.int64]:
        """Row indices in order of preference."""
        import numpy as np

        if self.survivor == "longest":
            values = text_lengths(rows, self.columns, _WHO)
        elif self.by is not None:
            values = numbers(rows, self.by, _WHO)
        else:
            values = np.zeros(rows.num_rows)
        return np.argsort(-values, kind="stable")
