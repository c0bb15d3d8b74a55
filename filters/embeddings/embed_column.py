"""Embeddings of rows: reused from the ``embedding`` column while they are valid, else computed.

``embedding`` (list<float32>) is written with ``embedding_of`` (string), a digest of the embedder's name and
of the embedded text. A vector is reused only by the same embedder for the same text. A row whose text has
changed is embedded again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from ...contracts.operators import Context
from ..columns import joined_texts

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

#: Texts per call of the embedder. Between two calls it is checked whether the run is stopping.
CHUNK = 512


@dataclass(frozen=True, slots=True)
class Embedded:
    """Embeddings of the rows of a table.

    ``vectors``: float32 ``(rows, dimensions)``, unit rows; zero if the text is null. ``errors``: a message
    for each row without text, else None. ``marks``: the ``embedding_of`` of each row. ``made``: the number of
    distinct texts that were embedded.
    """

    vectors: NDArray[np.float32]
    errors: list[str | None]
    marks: list[str | None]
    made: int

    @property
    def usable(self) -> NDArray[np.int64]:
        """The indices of the rows that have a vector."""
        import numpy as np

        return np.array([i for i, error in enumerate(self.errors) if error is None], dtype=np.int64)

    def columns(self) -> dict[str, pa.Array]:
        """The two columns to store; both are null if a row has no text."""
        import numpy as np
        import pyarrow as pa

        filled = np.array([error is None for error in self.errors], dtype=bool)
        lengths = np.where(filled, self.vectors.shape[1], 0)
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
        values = pa.array(self.vectors[filled].ravel())
        lists = pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(~filled))
        return {"embedding": lists, "embedding_of": pa.array(self.marks, pa.string())}


def embed(
    table: pa.Table, columns: Sequence[str], embedder: str | None, context: Context, who: str
) -> Embedded:
    """Return the embedding of each row's text (its ``columns`` joined by line breaks).

    ``embedder``: the name in the pipeline file; None for the packaged default. Each distinct text is embedded
    once. The embedder is not loaded if all vectors can be reused. Raises DataError if a column is missing or
    not text.
    """
    import numpy as np

    texts = joined_texts(table, columns, who)
    marks = [None if text is None else _mark(embedder, text) for text in texts]
    vectors, have = _stored(table, marks)
    missing = sorted(
        {text for text, known in zip(texts, have.tolist()) if text is not None and not known},
        # Texts of similar length share a batch with little padding. Ties are ordered by the text.
        key=lambda text: (len(text), text),
    )
    if missing:
        model = context.embedder(embedder)
        made = np.empty((len(missing), model.dimensions), dtype=np.float32)
        for start in range(0, len(missing), CHUNK):
            context.check()
            chunk = missing[start : start + CHUNK]
            made[start : start + len(chunk)] = model.encode(chunk)
            context.progress(start + len(chunk), len(missing), "texts")
        if vectors.shape[1] != model.dimensions:
            # Stored by another model of the same name: its vectors cannot be compared with these.
            if have.any():
                return embed(table.drop_columns(["embedding"]), columns, embedder, context, who)
            vectors = np.zeros((len(texts), model.dimensions), dtype=np.float32)
        place = {text: index for index, text in enumerate(missing)}
        rows = [i for i, text in enumerate(texts) if text is not None and not have[i]]
        vectors[rows] = made[[place[str(texts[i])] for i in rows]]
    label = " + ".join(columns)
    errors = [f"{who}: no text to embed ({label} is null)" if text is None else None for text in texts]
    return Embedded(vectors, errors, marks, len(missing))


def _mark(embedder: str | None, text: str) -> str:
    return blake2b(f"{embedder or ''}\0{text}".encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _stored(table: pa.Table, marks: list[str | None]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return (stored vectors, mask of the rows whose vector belongs to the text in ``marks``)."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = table.num_rows
    none = np.zeros((rows, 0), dtype=np.float32), np.zeros(rows, dtype=bool)
    if not rows or not {"embedding", "embedding_of"} <= set(table.column_names):
        return none
    column = table.column("embedding")
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_floating(
        kind.value_type
    ):
        return none
    of = table.column("embedding_of").to_pylist()
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)
    width = int(lengths.max())
    matching = np.array([mark is not None and mark == stored for mark, stored in zip(marks, of)], dtype=bool)
    have = matching & (lengths == width) & (width > 0)
    vectors = np.zeros((rows, width), dtype=np.float32)
    if have.any():
        chosen = column.filter(pa.array(have)).combine_chunks()
        vectors[have] = chosen.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return vectors, have
