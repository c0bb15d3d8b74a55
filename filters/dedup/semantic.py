"""Drop rows that say the same as another row in other words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from ...contracts.operators import Context, EmbedderRef, TableResult, WholeTable
from ..columns import joined_texts, number_column
from ..embeddings.cosine import greedy_duplicates
from ..embeddings.embed_column import embed

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_WHO = "dedup: semantic"


class SemanticDedup(WholeTable):
    """Keeps rows whose embeddings are pairwise dissimilar. The others name the most similar kept row.

    The search is greedy over all pairs, in order of preference. It follows SemDeDup (Abbas et al., 2023), but
    does not cluster first. Rows without text fail.

    Adds:
        embedding (list of float32): the row's unit vector, with `store_embeddings`.

    Filters:
        semantic_duplicate: too similar to a kept row; the score is the cosine.

    Example:
        unique: {dedup: semantic, from: exact, threshold: 0.92}
    """

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
    store_embeddings: bool = False
    """Add the vectors to the rows, for an export say. Later steps of the run find them without."""

    @model_validator(mode="after")
    def _by_with_best(self) -> SemanticDedup:
        if (self.survivor == "best") != (self.by is not None):
            raise ValueError("`survivor: best` and `by: COLUMN` (what to rank by) go together")
        return self

    def uses_columns(self) -> Iterable[str]:
        return self.columns if self.by is None else (*self.columns, self.by)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, "embedding"]

    def apply(self, table: pa.Table, context: Context) -> TableResult:
        """Judge all rows. Raises DataError if a column is missing or of the wrong type."""
        import numpy as np

        order = self._order(table)
        embedded = embed(table, self.columns, self.embedder, context, _WHO)
        usable = np.zeros(table.num_rows, dtype=bool)
        usable[embedded.usable] = True
        order = order[usable[order]]

        def check(done: int) -> None:
            context.check()
            context.progress(done, len(order), "rows")

        nearest, cosines = greedy_duplicates(embedded.vectors[order], self.threshold, check)
        kept = np.ones(table.num_rows, dtype=bool)
        score = np.full(table.num_rows, np.nan)
        duplicate_of: list[str | None] = [None] * table.num_rows
        ids = table.column("_id").to_pylist()
        kept[order], score[order] = nearest < 0, cosines
        for place in np.flatnonzero(nearest >= 0).tolist():
            duplicate_of[order[place]] = ids[order[nearest[place]]]
        return TableResult(
            kept=kept,
            rule="semantic_duplicate",
            score=score,
            duplicate_of=duplicate_of,
            errors=embedded.errors if any(embedded.errors) else None,
            columns=embedded.columns() if self.store_embeddings else {},
            summary={
                "threshold": self.threshold,
                "duplicates": int((~kept).sum()),
                "mean_score": float(np.nanmean(score)) if (~kept).any() else None,
                **embedded.summary,
            },
        )

    def _order(self, table: pa.Table) -> NDArray[np.int64]:
        """Row indices in order of preference."""
        import numpy as np

        if self.survivor == "longest":
            values = np.array(
                [len(text or "") for text in joined_texts(table, self.columns, _WHO)], dtype=float
            )
        elif self.by is not None:
            values = number_column(table, self.by, _WHO)
        else:
            values = np.zeros(table.num_rows)
        return np.argsort(-values, kind="stable")
