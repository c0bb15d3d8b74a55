"""Drop rows that say nearly the same in the same words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from ...contracts.context import Context
from ...contracts.operators import WholeTable
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows
from ..columns import joined_texts, require_named
from .rouge_l import WordNumbers, greedy_rouge

_WHO = "dedup: rouge"


class RougeDedup(WholeTable):
    """Keeps rows that are pairwise dissimilar by ROUGE-L. The others name the most similar kept row.

    This is Self-Instruct's rule for new tasks (Wang et al., arXiv 2212.10560). Rows are processed in
    order. All pairs are compared, so it is meant for short texts. Rows whose text is null fail.

    Filters:
        rouge_duplicate: too similar to a kept row; the score is the ROUGE-L.

    Example:
        fresh: {dedup: rouge, from: tasks, threshold: 0.7}
    """

    version: ClassVar[int] = 2

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Smallest ROUGE-L (F-measure of the longest common subsequence of words) that makes a row a duplicate,
    up to 1."""
    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("prompt",)
    """Columns to compare, joined by line breaks."""

    def uses_columns(self) -> Iterable[str]:
        return self.columns

    def uses_text(self) -> Iterable[str]:
        return self.columns

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Judge all rows. Raises DataError if a column is missing or not text."""
        import numpy as np

        require_named(rows.column_names, self.columns, _WHO)
        numbered = WordNumbers()
        texts = [
            None if text is None else numbered(text)
            for batch in rows.batches(self.columns)
            for text in joined_texts(batch, self.columns, _WHO)
        ]
        usable = [place for place, text in enumerate(texts) if text is not None]

        def check(done: int) -> None:
            context.check()
            context.progress(done, len(usable), "rows")

        nearest, scores = greedy_rouge([text for text in texts if text is not None], self.threshold, check)
        kept = np.ones(rows.num_rows, dtype=bool)
        score = np.full(rows.num_rows, np.nan)
        duplicate_of = np.full(rows.num_rows, -1)
        kept[usable], score[usable] = nearest < 0, scores
        for place in np.flatnonzero(nearest >= 0).tolist():
            duplicate_of[usable[place]] = usable[nearest[place]]
        missing = [None if text is not None else f"{' or '.join(self.columns)} is null" for text in texts]
        return TableResult(
            kept=kept,
            rule="rouge_duplicate",
            score=score,
            duplicate_of=duplicate_of,
            errors=missing if any(missing) else None,
            summary={"threshold": self.threshold, "duplicates": int((~kept).sum())},
        )
