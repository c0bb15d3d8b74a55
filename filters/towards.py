"""The reference rows of a step that chooses or scores rows by their likeness to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..contracts.context import Context
from ..contracts.errors import DataError
from .columns import joined_texts
from .embeddings.embed_column import embed
from .select.random import draw

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def reference_rows(step: str, most: int, context: Context, who: str) -> pa.Table:
    """The rows of the reference step, at most ``most``, drawn by the seed. Raises DataError if there are
    none."""
    import numpy as np

    table = context.table(step)
    if not table.num_rows:
        raise DataError(f"{who} compares rows with those of the step '{step}', which has none")
    if table.num_rows <= most:
        return table
    draws = draw(table.column("_id").to_pylist(), context.seed)
    return table.take(np.sort(np.argsort(draws, kind="stable")[:most]))


def reference_texts(step: str, columns: Sequence[str], most: int, context: Context, who: str) -> list[str]:
    """The distinct texts of the reference step's rows, in order. Raises DataError if there are none."""
    texts = joined_texts(reference_rows(step, most, context, who), columns, _of(step, who))
    found = list(dict.fromkeys(text for text in texts if text))
    if not found:
        raise DataError(f"{who}: the step '{step}' has no text in {' + '.join(columns)}")
    return found


def reference_vectors(
    step: str, columns: Sequence[str], most: int, embedder: str | None, context: Context, who: str
) -> NDArray[np.float32]:
    """The unit vectors of the reference step's texts, float32 ``(rows, dimensions)``.

    Raises DataError if there are none.
    """
    embedded = embed(reference_rows(step, most, context, who), columns, embedder, context, _of(step, who))
    if not len(embedded.usable):
        raise DataError(f"{who}: the step '{step}' has no text in {' + '.join(columns)}")
    return embedded.vectors[embedded.usable]


def _of(step: str, who: str) -> str:
    """Who needs a column, so that a message says in which rows."""
    return f"{who}: the step '{step}' (`target_columns`)"
