"""``select: consistent``: keep pairs whose parts find each other, and mine hard negatives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from ...contracts.context import Context
from ...contracts.operators import EmbedderRef, StepRef, WholeTable, check_names
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows
from ..columns import joined_texts
from ..embeddings.embed_column import embed, embed_rows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_WHO = "select: consistent"
BLOCK = 1024


class SelectConsistent(WholeTable):
    """Keeps pairs whose document is among the nearest of all documents to its query; mines hard negatives.

    A pair whose own document is not found again is probably noise. Hard negatives are the documents most
    similar to the query that are clearly less similar than its own, so that they are no copies of it. This is
    the curation of CoRNStack (Suresh et al., arXiv 2412.01007). Equal documents count as one. Rows without
    text in either column fail. With `among` the documents of another step are searched too.

    Adds:
        similarity (float64): cosine of query and document.
        rank (int32): place of the document among all documents, by similarity to the query; 1 is the first.
        negatives (list of texts): hard negatives, the most similar first, with `negatives` above 0.

    Filters:
        inconsistent: the document is not near enough to its query; the score is the similarity.

    Example:
        pairs: {select: consistent, query: prompt, document: response, nearest: 2, negatives: 5, from: code}
    """

    query: str = "prompt"
    """Column with the query."""
    document: str = "response"
    """Column with the document."""
    nearest: PositiveInt = 2
    """The document must be among this many nearest documents."""
    min_similarity: Annotated[float, Field(ge=-1, le=1)] = 0.0
    """Minimum cosine of query and document."""
    negatives: NonNegativeInt = 0
    """Hard negatives per row."""
    margin: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Highest similarity of a negative, as a share of the similarity of the row's own document."""
    among: StepRef | None = None
    """Step with further documents, in the same column: the chunks of a collection, say, of which only some
    have a query. By default the documents are those of the rows."""
    embedder: EmbedderRef | None = None
    """Model with `engine: embedder`. By default the packaged MiniLM."""

    def check_reference(self, field: str, step: str, columns: Sequence[str]) -> None:
        if field == "among":
            check_names((self.document,), columns, f"among: {step}")

    def uses_columns(self) -> Iterable[str]:
        return (self.query, self.document)

    def uses_text(self) -> Iterable[str]:
        return (self.query, self.document)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        mined = ("negatives",) if self.negatives else ()
        return None if columns is None else [*columns, "similarity", "rank", *mined]

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Judge all rows. Raises DataError if a column is missing or not text."""
        import numpy as np
        import pyarrow as pa

        queries = embed_rows(rows, [self.query], self.embedder, context, _WHO)
        documents = embed_rows(rows, [self.document], self.embedder, context, _WHO)
        table = rows.table([self.document])
        errors = [own or other for own, other in zip(queries.errors, documents.errors)]
        usable = np.array([row for row, error in enumerate(errors) if error is None], dtype=np.int64)
        texts = [str(text) for text in np.array(joined_texts(table, [self.document], _WHO), object)[usable]]
        places: dict[str, int] = {}
        own = np.array([places.setdefault(text, len(places)) for text in texts], dtype=np.int64)
        firsts = np.unique(own, return_index=True)[1] if len(own) else own
        searched = documents.vectors[usable[firsts]]
        others = context.table(self.among) if self.among is not None else None
        if others is not None and others.num_rows:
            searched = np.concatenate([searched, self._others(others, places, context)])
        found = _Found.of(queries.vectors[usable], searched, own, self, context)
        consistent = (found.rank <= self.nearest) & (found.similarity >= self.min_similarity)
        kept = np.zeros(table.num_rows, dtype=bool)
        kept[usable] = consistent
        similarity, rank = np.full(table.num_rows, np.nan), np.zeros(table.num_rows, dtype=np.int32)
        similarity[usable], rank[usable] = found.similarity, found.rank
        columns = {
            "similarity": pa.array(similarity, mask=np.isnan(similarity)),
            "rank": pa.array(rank, mask=rank == 0),
        }
        if self.negatives:
            names = list(places)
            mined: list[list[str] | None] = [None] * table.num_rows
            for row, some in zip(usable.tolist(), found.negatives):
                mined[row] = [names[place] for place in some]
            columns["negatives"] = pa.array(mined, pa.list_(pa.string()))
        return TableResult(
            kept=kept,
            rule="inconsistent",
            score=similarity,
            errors=errors if any(errors) else None,
            columns=columns,
            summary={"documents": len(places), "consistent": int(consistent.sum())},
        )

    def _others(self, table: pa.Table, places: dict[str, int], context: Context) -> NDArray[np.float32]:
        """Add the documents of a table that have no place yet, and return their vectors."""
        embedded = embed(table, [self.document], self.embedder, context, _WHO)
        texts = joined_texts(table, [self.document], _WHO)
        rows = []
        for row in embedded.usable.tolist():
            text = str(texts[row])
            if text not in places:
                places[text] = len(places)
                rows.append(row)
        return embedded.vectors[rows]


class _Found:
    """The similarity and rank of each query's own document, and its hard negatives."""

    def __init__(self, rows: int) -> None:
        import numpy as np

        self.similarity = np.zeros(rows)
        self.rank = np.zeros(rows, dtype=np.int32)
        self.negatives: list[list[int]] = []

    @classmethod
    def of(
        cls,
        queries: NDArray[np.float32],
        documents: NDArray[np.float32],
        own: NDArray[np.int64],
        settings: SelectConsistent,
        context: Context,
    ) -> _Found:
        import numpy as np

        found = cls(len(queries))
        for start in range(0, len(queries), BLOCK):
            context.check()
            context.progress(start, len(queries), "rows")
            cosines = queries[start : start + BLOCK] @ documents.T
            rows = np.arange(len(cosines))
            mine = cosines[rows, own[start : start + BLOCK]]
            found.similarity[start : start + BLOCK] = np.clip(mine, -1.0, 1.0)
            found.rank[start : start + BLOCK] = (cosines > mine[:, None]).sum(axis=1) + 1
            if settings.negatives:
                limit = mine - np.abs(mine) * (1.0 - settings.margin)
                cosines[cosines > limit[:, None]] = -np.inf
                cosines[rows, own[start : start + BLOCK]] = -np.inf
                order = np.argsort(-cosines, axis=1, kind="stable")[:, : settings.negatives]
                near = np.take_along_axis(cosines, order, axis=1) > -np.inf
                found.negatives += [places[there].tolist() for places, there in zip(order, near)]
        return found
