"""Drop rows whose text was seen before."""

from __future__ import annotations

import sys
import unicodedata
from itertools import count
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ..pipelines.operator import Context, Verdicts, Whole
from .columns import require_columns

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


class ExactDedup(Whole):
    """Keeps the first row, in the table's order, of those whose ``columns`` are equal.

    ``normalize``: texts that differ only in case, white space or Unicode form count as equal
    (:func:`normalize_text`). ``strip_punctuation``: then in punctuation too. A null equals a null.
    The others are filtered with rule ``exact_duplicate``; their neighbour is the row that was kept.
    """

    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("prompt", "response")
    normalize: bool = True
    strip_punctuation: bool = False

    def apply(self, table: pa.Table, context: Context) -> Verdicts:
        """Judge all rows. Raises DataError where a column is missing or holds lists or structures."""
        import numpy as np

        first = self.first_occurrences(table)
        kept = first == np.arange(len(first))
        neighbours: list[str | None] = [None] * len(first)
        copies_of = table.column("_id").take(first[~kept]).to_pylist()
        for row, neighbour in zip(np.flatnonzero(~kept).tolist(), copies_of):
            neighbours[row] = neighbour
        copies = np.bincount(first, minlength=1) if len(first) else np.zeros(1, dtype=np.int64)
        return Verdicts(
            kept=kept,
            rule="exact_duplicate",
            neighbour=neighbours,
            summary={"duplicates": int((~kept).sum()), "most_copies": int(copies.max())},
        )

    def first_occurrences(self, table: pa.Table) -> NDArray[np.int64]:
        """For each row, the index of the first row that equals it; int64, shape ``(rows,)``."""
        import numpy as np

        who = "dedup: exact"
        require_columns(table, self.columns, who)
        values = [self._keys(table.column(name), name) for name in self.columns]
        keys = values[0] if len(values) == 1 else zip(*values)
        seen: dict[object, int] = {}
        return np.fromiter(map(seen.setdefault, keys, count()), np.int64, table.num_rows)

    def _keys(self, column: pa.ChunkedArray, name: str) -> list[object]:
        import pyarrow as pa

        from ..pipelines.errors import DataError

        if pa.types.is_nested(column.type):
            raise DataError(
                f"dedup: exact compares texts and numbers; the column '{name}' holds {column.type}"
            )
        values: list[object] = column.to_pylist()
        if not (self.normalize or self.strip_punctuation):
            return values
        return [
            normalize_text(value, strip_punctuation=self.strip_punctuation)
            if isinstance(value, str)
            else value
            for value in values
        ]


def normalize_text(text: str, *, strip_punctuation: bool = False) -> str:
    """NFKC, case folded, white space collapsed to single spaces and trimmed.

    ``strip_punctuation`` also removes the characters of Unicode's categories P*.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    text = text.casefold()
    if strip_punctuation:
        text = text.translate(_punctuation())
    return " ".join(text.split())


_PUNCTUATION: dict[int, None] = {}


def _punctuation() -> dict[int, None]:
    if not _PUNCTUATION:
        _PUNCTUATION.update(
            (code, None) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == "P"
        )
    return _PUNCTUATION
