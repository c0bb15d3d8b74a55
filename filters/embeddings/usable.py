"""Which embeddings can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .embed_column import Embedded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Rows that are looked at together.
BLOCK = 65_536


def usable_rows(embedded: Embedded, who: str) -> tuple[NDArray[np.int64], list[str | None] | None]:
    """Return the rows that have a finite vector, int64, and each row's error (None if no row has one)."""
    import numpy as np

    vectors, errors = embedded.vectors, list(embedded.errors)
    for start in range(0, len(vectors), BLOCK):
        for row in np.flatnonzero(~np.isfinite(vectors[start : start + BLOCK]).all(axis=1)).tolist():
            errors[start + row] = errors[start + row] or (
                f"{who}: the embedder returned NaN or infinity for this text"
            )
    rows = np.array([row for row, error in enumerate(errors) if error is None], dtype=np.int64)
    return rows, errors if len(rows) < len(errors) else None
