"""Drop rows whose text was seen before."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, model_validator

from ...contracts.operators import Context, TableResult, WholeTable
from ..columns import require_columns, without_nan
from .same_text import Normalize, text_key, value_key

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_WHO = "dedup: exact"
_OWN = ("prompt", "response")
_TURNS = "messages"


class ExactDedup(WholeTable):
    """Keeps the first of the rows with equal texts. The others name the row that they duplicate.

    Two nulls are equal, but rows whose columns are all null are not duplicates. Lists and structures are
    compared value by value.

    Filters:
        exact_duplicate: equal to an earlier row.

    Example:
        exact: {dedup: exact, from: kept, columns: [prompt], normalize: prose}
    """

    version: ClassVar[int] = 2

    columns: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Columns to compare. By default `prompt`, `response`, and `messages` where rows have it."""
    normalize: Normalize = "auto"
    """How texts are normalized before they are compared. `prose` folds case, white space and Unicode form.
    `code` folds only line ends and trailing white space. `auto` chooses one of the two for each text. `none`
    compares character by character."""
    strip_punctuation: bool = False
    """Also ignore punctuation in prose."""

    @model_validator(mode="after")
    def _punctuation_of_prose(self) -> ExactDedup:
        if self.strip_punctuation and self.normalize in ("code", "none"):
            raise ValueError(
                f"`strip_punctuation` goes with `normalize: prose` or `auto`, not {self.normalize}"
            )
        return self

    def uses_columns(self) -> Iterable[str]:
        return self.columns or ()

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns

    def apply(self, table: pa.Table, context: Context) -> TableResult:
        """Judge all rows. Raises DataError if a column is missing."""
        import numpy as np

        first = self.first_occurrences(table)
        kept = first == np.arange(len(first))
        neighbors: list[str | None] = [None] * len(first)
        copies_of = table.column("_id").take(first[~kept]).to_pylist()
        for row, duplicate_of in zip(np.flatnonzero(~kept).tolist(), copies_of):
            neighbors[row] = duplicate_of
        copies = np.bincount(first, minlength=1) if len(first) else np.zeros(1, dtype=np.int64)
        return TableResult(
            kept=kept,
            rule="exact_duplicate",
            duplicate_of=neighbors,
            summary={"duplicates": int((~kept).sum()), "most_copies": int(copies.max())},
        )

    def first_occurrences(self, table: pa.Table) -> NDArray[np.int64]:
        """Return, for each row, the index of the first row that equals it; int64, shape ``(rows,)``."""
        import numpy as np

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # from parsing texts to see whether they are code
            values = [self._keys(table.column(name), name) for name in self._compared(table)]
        seen: dict[object, int] = {}
        first = map(seen.setdefault, zip(*values), count())
        nothing = (None,) * len(values)
        alone = (
            row if key == nothing else place for row, (key, place) in enumerate(zip(zip(*values), first))
        )
        return np.fromiter(alone, np.int64, table.num_rows)

    def _compared(self, table: pa.Table) -> tuple[str, ...]:
        if self.columns is not None:
            require_columns(table, self.columns, _WHO)
            return self.columns
        if _TURNS in table.column_names:
            return tuple(name for name in (*_OWN, _TURNS) if name in table.column_names)
        require_columns(table, _OWN, _WHO)
        return _OWN

    def _keys(self, column: pa.ChunkedArray, name: str) -> list[object]:
        import pyarrow as pa

        key = text_key(self.normalize, self.strip_punctuation)
        values = without_nan(pa.table({name: column})).column(name).to_pylist()
        if name == _TURNS:
            values = [_turns(value) if isinstance(value, str) else value for value in values]
        return [value_key(value, key) for value in values]


def _turns(text: str) -> object:
    """Parse turns that are stored as JSON text because their keys differ between rows.

    Any other text is returned as it is.
    """
    try:
        return json.loads(text)
    except ValueError:
        return text
