"""Embeddings of rows: the texts of their columns, each distinct text embedded once in a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...contracts.context import Context
from ...contracts.inference import EMBED_CHUNK, StoredEmbedder
from ...contracts.stored_rows import StoredRows
from ..columns import joined_texts, require_named

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Embedded:
    """Embeddings of the rows of a table.

    ``vectors``: float32 ``(rows, dimensions)``, unit rows; zero if the row has no vector. ``errors``: why,
    for each of those rows; None for the others. ``made`` and ``reused``: distinct texts that were embedded,
    and that had a vector before the step started.
    """

    vectors: NDArray[np.float32]
    errors: list[str | None]
    made: int
    reused: int

    @property
    def usable(self) -> NDArray[np.int64]:
        """The indices of the rows that have a vector."""
        import numpy as np

        return np.array([i for i, error in enumerate(self.errors) if error is None], dtype=np.int64)

    @property
    def by_content(self) -> NDArray[np.int64]:
        """The same rows in the order of their vectors' bytes, which does not depend on that of the rows."""
        import numpy as np

        usable = self.usable
        if not len(usable):
            return usable
        vectors = self.vectors if len(usable) == len(self.vectors) else self.vectors[usable]
        whole = np.dtype((np.void, vectors.dtype.itemsize * vectors.shape[1]))
        return usable[np.argsort(vectors.view(whole).ravel(), kind="stable")]

    @property
    def failed(self) -> list[str | None] | None:
        """The errors; None if there are none."""
        return self.errors if any(self.errors) else None

    def columns(self) -> dict[str, pa.Array]:
        """The vectors as a column, null for a row without one."""
        import numpy as np
        import pyarrow as pa

        filled = np.array([error is None for error in self.errors], dtype=bool)
        lengths = np.where(filled, self.vectors.shape[1], 0)
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
        values = pa.array(self.vectors[filled].ravel())
        return {"embedding": pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(~filled))}

    @property
    def summary(self) -> Mapping[str, int]:
        """What to say about it in a step's summary."""
        return {"texts_embedded": self.made, "texts_reused": self.reused}


def embed(
    table: pa.Table, columns: Sequence[str], embedder: str | None, context: Context, who: str
) -> Embedded:
    """Return the embedding of each row's text (its ``columns`` joined by line breaks).

    ``embedder``: the name in the pipeline file; None for the packaged default. It is not loaded if all texts
    have a vector. Raises DataError if a column is missing or not text.
    """
    texts = joined_texts(table, columns, who)
    distinct = len(set(texts) - {None})

    def tell(left: int) -> None:
        context.check()
        context.progress(distinct - left, distinct, "texts")

    return _embedded(texts, context.embedder(embedder), tell, columns, who)


def embed_batches(
    rows: StoredRows, columns: Sequence[str], embedder: str | None, context: Context, who: str
) -> Iterator[Embedded]:
    """Yield what :func:`embed` returns for each batch of ``rows``, in order, with one batch in memory.

    ``made`` and ``reused`` count from the first batch on.
    """
    model = context.embedder(embedder)
    done = 0
    for batch in rows.batches(columns):
        texts = joined_texts(batch, columns, who)
        done += len(texts)

        def tell(left: int, done: int = done) -> None:
            context.check()
            context.progress(done - left, rows.num_rows, "rows")

        yield _embedded(texts, model, tell, columns, who)


def embed_rows(
    rows: StoredRows, columns: Sequence[str], embedder: str | None, context: Context, who: str
) -> Embedded:
    """Return what :func:`embed` returns for all rows, with the texts of one batch in memory."""
    import numpy as np

    require_named(rows.column_names, columns, who)
    vectors, errors, part = None, list[str | None](), None
    for part in embed_batches(rows, columns, embedder, context, who):
        if vectors is None and part.vectors.shape[1]:  # a batch without text has no dimensions
            vectors = np.zeros((rows.num_rows, part.vectors.shape[1]), np.float32)
        if vectors is not None:
            vectors[len(errors) : len(errors) + len(part.errors)] = part.vectors
        errors += part.errors
    if part is None or vectors is None:
        return embed(rows.table(columns), columns, embedder, context, who)
    return Embedded(vectors, errors, part.made, part.reused)


def _embedded(
    texts: Sequence[str | None],
    model: StoredEmbedder,
    tell: Callable[[int], None],
    columns: Sequence[str],
    who: str,
) -> Embedded:
    """``tell``: called before each chunk with the number of texts that are left to embed, and at the end."""
    import numpy as np

    rows = [row for row, text in enumerate(texts) if text is not None]
    given = [text for text in texts if text is not None]
    missing = model.missing(given)
    for start in range(0, len(missing), EMBED_CHUNK):
        tell(len(missing) - start)
        model.encode(missing[start : start + EMBED_CHUNK])
    found = model.encode(given)
    tell(0)
    vectors = np.zeros((len(texts), found.shape[1]), dtype=np.float32)
    vectors[rows] = found
    label = " + ".join(columns)
    errors: list[str | None] = [f"{who}: no text to embed ({label} is null)"] * len(texts)
    for row, length in zip(rows, np.einsum("ij,ij->i", found, found).tolist()):
        if length:
            errors[row] = None
        else:
            errors[row] = f"{who}: the embedder has no vector for this text (zeros, NaN or infinity)"
    return Embedded(vectors, errors, model.embedded, model.reused)
