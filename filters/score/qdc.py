"""``score: qdc``: quality, diversity and complexity of a data set, beside those of another step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from ...contracts.context import Context
from ...contracts.operators import EmbedderRef, FilledStepRef, WholeTable, check_names
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows, TableRows
from ..columns import joined_texts, require_named
from ..embeddings.embed_column import embed
from ..select.random import draws_of
from ..stored_columns import numbers, rows_at
from .diversity import compression_ratio, distinct_ngrams, mean_nearest_distance, vendi_score, word_entropy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WHO = "score: qdc"


class QualityDiversityComplexity(WholeTable):
    """Measures quality, diversity and complexity of a data set, and compares it with another step.

    All rows are kept and get no column: the figures are the step's summary and stand in the report. They
    show what a filter did, if `before` names the step before it: filters that raise quality often cost
    diversity (Havrilla et al., "Surveying the Effects of Quality, Diversity, and Complexity in Synthetic
    Data From Large Language Models", arXiv 2412.02980). Diversity depends on the number of rows, so both
    steps are measured on equally many, drawn at random.

    The summary has, for `after` (these rows) and `before`: `rows`; `quality` and `complexity`, the mean of
    each column named; `diversity`: `distinct_1` to `distinct_3` (share of distinct n-grams of words),
    `entropy` (of the words, in bits),
    `compression_ratio` (of all texts together; higher is less diverse), `nearest_distance` (mean of 1 -
    cosine to the nearest other row) and `vendi` (effective number of different rows). `complexity` also has
    the mean `words` per row and its `distinct_words`.

    Example:
        balance: {score: qdc, from: chosen, before: rated, quality: [reward]}
    """

    seeded: ClassVar[bool] = True

    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("prompt", "response")
    """Columns with the text to measure, joined by line breaks."""
    before: FilledStepRef | None = None
    """Step to compare with, for example the one before a filter."""
    quality: tuple[str, ...] = ()
    """Columns with numbers that stand for quality, such as a reward."""
    complexity: tuple[str, ...] = ()
    """Columns with numbers that stand for complexity, such as a perplexity or a number of constraints."""
    sample: Annotated[int, Field(ge=2)] = 1000
    """Maximum number of rows that are measured for diversity."""
    embedder: EmbedderRef | None = None
    """Model with `engine: embedder`. By default the packaged MiniLM."""

    def uses_columns(self) -> Iterable[str]:
        return (*self.columns, *self.quality, *self.complexity)

    def uses_text(self) -> Iterable[str]:
        return self.columns

    def uses_numbers(self) -> Iterable[str]:
        return (*self.quality, *self.complexity)

    def check_reference(self, field: str, step: str, columns: Sequence[str]) -> None:
        check_names(self.uses_columns(), columns, f"the step '{step}' (`before`)")

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Measure all rows. Raises DataError if a column is missing or of the wrong type."""
        sides = {"after": rows}
        if self.before is not None:
            sides["before"] = TableRows(context.table(self.before))
        usable = {name: _with_text(each, self.columns) for name, each in sides.items()}
        size = min(self.sample, *(int(each.sum()) for each in usable.values()))
        return TableResult(
            summary={name: self._measured(each, usable[name], size, context) for name, each in sides.items()}
        )

    def _measured(
        self, rows: StoredRows, usable: NDArray[np.bool_], size: int, context: Context
    ) -> Mapping[str, Any]:
        """Measure the ``usable`` rows; of their texts, ``size`` that are drawn."""
        import numpy as np

        means = {name: _mean(rows, name, usable) for name in (*self.quality, *self.complexity)}
        places = np.flatnonzero(usable)
        draws = draws_of(rows, context.seed)[places]
        drawn = places[np.sort(np.argsort(draws, kind="stable")[:size])]
        chosen = rows_at(rows, drawn, self.columns)
        texts = [text or "" for text in joined_texts(chosen, self.columns, _WHO)]
        vectors = embed(chosen, self.columns, self.embedder, context, _WHO).vectors
        words = [text.lower().split() for text in texts]
        return {
            "rows": len(places),
            "measured": size,
            "quality": {name: means[name] for name in self.quality},
            "diversity": {
                **{f"distinct_{n}": distinct_ngrams(texts, n) for n in (1, 2, 3)},
                "entropy": word_entropy(texts),
                "compression_ratio": compression_ratio(texts),
                "nearest_distance": mean_nearest_distance(vectors),
                "vendi": vendi_score(vectors),
            },
            "complexity": {
                **{name: means[name] for name in self.complexity},
                "words": float(np.mean([len(each) for each in words])) if words else None,
                "distinct_words": float(np.mean([len(set(each)) for each in words])) if words else None,
            },
        }


def _with_text(rows: StoredRows, columns: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each row has a text in all of the columns."""
    import numpy as np

    require_named(rows.column_names, columns, _WHO)
    texts = (text for batch in rows.batches(columns) for text in joined_texts(batch, columns, _WHO))
    return np.fromiter((text is not None for text in texts), bool)


def _mean(rows: StoredRows, column: str, usable: NDArray[np.bool_]) -> float | None:
    """The mean of the known numbers of a column in the ``usable`` rows; None without any."""
    import numpy as np

    values: NDArray[np.float64] = numbers(rows, column, _WHO)[usable]
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
