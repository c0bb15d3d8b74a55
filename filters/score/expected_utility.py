"""``score: expected_utility``: how much the other samples of a prompt agree with a response."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ...contracts.context import Context
from ...contracts.operators import EmbedderRef, WholeTable
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows
from ..columns import joined_texts, require_named
from ..dedup.rouge_l import WordNumbers, rouge_l
from ..embeddings.embed_column import embed_rows
from ..select.groups import group_labels, members

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WHO = "score: expected_utility"


class ExpectedUtility(WholeTable):
    """Scores each of several samples of a prompt by its mean similarity with the others: minimum Bayes risk.

    The other samples stand for what the right answer may be, and the similarity for the utility of this
    response if they are. The best one is what minimum-Bayes-risk decoding gives (Eikema and Aziz, arXiv
    2108.04718); trained on, the model gives it at once (Finkelstein and Freitag, arXiv 2309.10966). Equal
    samples count each: they are what the model finds likely. A response without other samples has no score.
    Rows whose text is null fail, and are no evidence about the others.

    Adds:
        expected_utility (float64): mean similarity with the other samples, 0 to 1 (-1 to 1 with `cosine`);
            null if there is no other.

    Example:
        rated: {score: expected_utility, from: samples}
        best:  {select: best, by: expected_utility, from: rated}
    """

    version: ClassVar[int] = 2

    group: Annotated[tuple[str, ...], Field(min_length=1)] = ("prompt",)
    """Columns whose equal values make a group: samples of one prompt."""
    column: str = "response"
    """Column with the text of a sample."""
    utility: Literal["rouge_l", "cosine"] = "rouge_l"
    """Similarity of two texts: `rouge_l`, the F-measure of their longest common subsequence of words, or
    `cosine` of their embeddings."""
    embedder: EmbedderRef | None = None
    """Model with `engine: embedder`, for `utility: cosine`. By default the packaged MiniLM."""

    def embeds(self) -> bool:
        return self.utility == "cosine"

    def uses_columns(self) -> Iterable[str]:
        return (*self.group, self.column)

    def uses_text(self) -> Iterable[str]:
        return (self.column,)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, "expected_utility"]

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Judge all rows. Raises DataError if a column is missing or not text."""
        import numpy as np
        import pyarrow as pa

        require_named(rows.column_names, list(self.uses_columns()), _WHO)
        texts = [
            text
            for batch in rows.batches((self.column,))
            for text in joined_texts(batch, (self.column,), _WHO)
        ]
        groups = [
            [row for row in group if texts[row] is not None]
            for group in members(group_labels(rows, self.group, _WHO))
        ]
        scores = np.full(rows.num_rows, np.nan)
        alike = self._cosines(rows, context) if self.utility == "cosine" else _words(texts)
        for done, group in enumerate(groups):
            context.check()
            context.progress(done, len(groups), "groups")
            if len(group) > 1:
                scores[group] = alike(group)
        missing = [None if text is not None else f"{self.column} is null" for text in texts]
        return TableResult(
            columns={"expected_utility": pa.array(scores, mask=np.isnan(scores))},
            errors=missing if any(missing) else None,
            summary={"groups": len(groups), "rows_without_others": int(np.isnan(scores).sum())},
        )

    def _cosines(self, rows: StoredRows, context: Context) -> Callable[[list[int]], NDArray[np.float64]]:
        vectors = embed_rows(rows, (self.column,), self.embedder, context, _WHO).vectors

        def alike(group: list[int]) -> NDArray[np.float64]:
            own = vectors[group].astype("float64")
            return _mean_of_others(own @ own.T)

        return alike


def _words(texts: Sequence[str | None]) -> Callable[[list[int]], NDArray[np.float64]]:
    import numpy as np

    number = WordNumbers()
    numbered = [number(text or "") for text in texts]

    def alike(group: list[int]) -> NDArray[np.float64]:
        pairs = np.eye(len(group))
        for place, one in enumerate(group):
            for other in range(place + 1, len(group)):
                pairs[place, other] = pairs[other, place] = rouge_l(numbered[one], numbered[group[other]])
        return _mean_of_others(pairs)

    return alike


def _mean_of_others(pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each row of a square matrix without its diagonal."""
    import numpy as np

    count = len(pairs)
    means: NDArray[np.float64] = (pairs.sum(axis=1) - np.diagonal(pairs)) / (count - 1)
    return means
