"""Drop rows that say nearly the same in the same words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ..pipelines.operator import Context, Verdicts, Whole
from .columns import joined_texts
from .rouge import greedy_rouge, words

if TYPE_CHECKING:
    import pyarrow as pa

_WHO = "dedup: rouge"


class RougeDedup(Whole):
    """Keeps the rows whose texts' ROUGE-L is pairwise below ``threshold``: Self-Instruct's rule for new tasks
    (Wang et al., arXiv 2212.10560; there 0.7).

    The text of a row is its ``columns`` joined by line breaks. Rows are taken in table order; each that reaches
    the threshold with a row kept before is filtered, rule ``rouge_duplicate``, naming the kept row that it
    resembles most and the ROUGE-L. Rows whose text is null fail; a text without words resembles nothing.
    For short texts: all pairs are looked at.
    """

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.7
    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("prompt",)

    def uses_columns(self) -> Iterable[str]:
        return self.columns

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns

    def apply(self, table: pa.Table, context: Context) -> Verdicts:
        """Judge all rows. Raises DataError where a column is missing or no text."""
        import numpy as np

        texts = joined_texts(table, self.columns, _WHO)
        usable = [place for place, text in enumerate(texts) if text is not None]

        def check(done: int) -> None:
            context.check()
            context.progress(done, len(usable), "rows")

        nearest, scores = greedy_rouge([words(texts[place] or "") for place in usable], self.threshold, check)
        kept = np.ones(table.num_rows, dtype=bool)
        score = np.full(table.num_rows, np.nan)
        neighbour: list[str | None] = [None] * table.num_rows
        ids = table.column("_id").to_pylist()
        kept[usable], score[usable] = nearest < 0, scores
        for place in np.flatnonzero(nearest >= 0).tolist():
            neighbour[usable[place]] = ids[usable[nearest[place]]]
        missing = [None if text is not None else f"{' or '.join(self.columns)} is null" for text in texts]
        return Verdicts(
            kept=kept,
            rule="rouge_duplicate",
            score=score,
            neighbour=neighbour,
            errors=missing if any(missing) else None,
            summary={"threshold": self.threshold, "duplicates": int((~kept).sum())},
        )
