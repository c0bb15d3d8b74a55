"""Drop rows whose text was seen before."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, model_validator
from xxhash import xxh3_64_hexdigest

from ...contracts.context import Context
from ...contracts.operators import WholeTable
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import ROW, StoredRows
from ..columns import is_text, require_named
from .exact_index import ExactIndex
from .first_occurrence import copies, key_table
from .folded_text import text_digests
from .kept_index import IndexName
from .same_text import Normalize, text_key, value_key
from .text_digest import are_known
from .value_digest import digests_of_bytes, digests_of_fields, encoded, value_digests

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from .text_digest import Digests

_WHO = "dedup: exact"
_OWN = ("prompt", "response")
_TURNS = "messages"
#: Stored keys are of digests of one kind.
_DIGESTS = "murmur3"
#: Syntax trees differ from one version of Python to the next.
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


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
    `code` folds only line ends and trailing white space. `auto` chooses one of the two for each text.
    `python` compares programs by their syntax trees, in Markdown too: comments, docstrings, layout, names of
    local variables and the order of imports do not count, nor does the prose around fenced blocks; other text
    is compared as code. `none` compares character by character."""
    strip_punctuation: bool = False
    """Also ignore punctuation in prose."""
    against: Path | None = None
    """Folder of an index that is kept between runs. Rows of the index survive before all others."""
    extend: IndexName | None = None
    """Add the survivors to the index under this name, for example `2026-11`. Only what the index held before
    this name is compared, so that a step that runs again finds the same rows."""

    @model_validator(mode="after")
    def _index_to_extend(self) -> ExactDedup:
        if self.extend is not None and self.against is None:
            raise ValueError("`extend: NAME` needs `against: FOLDER`, the index to extend")
        return self

    @model_validator(mode="after")
    def _punctuation_of_prose(self) -> ExactDedup:
        if self.strip_punctuation and self.normalize in ("code", "python", "none"):
            raise ValueError(
                f"`strip_punctuation` goes with `normalize: prose` or `auto`, not {self.normalize}"
            )
        return self

    def content(self) -> Mapping[str, str]:
        index = self._index(self.columns)
        return {} if index is None else {"against": index.digest}

    def most_per_group(self) -> tuple[Sequence[str], int] | None:
        return (self.columns, 1) if self.columns else None

    def uses_columns(self) -> Iterable[str]:
        return self.columns or ()

    def check_columns(self, columns: Sequence[str]) -> None:
        super().check_columns(columns)
        if self.columns is None and _TURNS not in columns:  # turns that may come are not known to come
            self._index(_OWN)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Judge all rows. Raises DataError if a column is missing, or if the index is damaged or was made
        with other columns or parameters."""
        import numpy as np

        columns = self._compared(rows.column_names)
        index = self._index(columns)
        name = f"exact_{self._digest(columns)}"
        used = [*columns, *(["_id"] if self.extend else [])]
        keys = rows.map(partial(self.keys, columns=columns), used, name=f"{name}_keys")
        context.check()
        copy, first = copies(keys, f"{name}_copies")
        duplicate_of = np.full(rows.num_rows, -1, dtype=np.int64)
        duplicate_of[copy] = first
        most = int(np.unique(first, return_counts=True)[1].max(initial=0)) + 1 if rows.num_rows else 0
        kept = duplicate_of < 0
        known = {} if index is None else index.same(keys, context.check)
        kept[list(known)] = False
        if index is not None and self.extend is not None:
            index.extend(keys, kept)
        return TableResult(
            kept=kept,
            rule="exact_duplicate",
            duplicate_of=_names(rows, duplicate_of, known) if known else duplicate_of,
            summary={
                "duplicates": int((~kept).sum()),
                "most_copies": most,
                **({} if index is None else {"in_index": len(known)}),
            },
        )

    def keys(self, table: pa.Table, columns: Sequence[str]) -> pa.Table:
        """Return the keys of the rows of which something is known (``first_occurrence.key_table``)."""
        import pyarrow as pa

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # from parsing texts to see whether they are code
            fields = {name: self._digests_of_chunks(table.column(name), name) for name in columns}
        digests = digests_of_fields(fields, table.num_rows)
        known = are_known(digests)
        found = key_table(table[ROW].filter(pa.array(known)), digests[known])
        if "_id" in table.column_names:
            found = found.append_column("_id", table["_id"].filter(pa.array(known)))
        return found

    def _compared(self, names: Sequence[str]) -> tuple[str, ...]:
        if self.columns is not None:
            require_named(names, self.columns, _WHO)
            return self.columns
        if _TURNS in names:
            return tuple(name for name in (*_OWN, _TURNS) if name in names)
        require_named(names, _OWN, _WHO)
        return _OWN

    def _index(self, columns: Sequence[str] | None) -> ExactIndex | None:
        if self.against is None:
            return None
        return ExactIndex.open(self.against, self._made_by(columns), self.extend)

    def _made_by(self, columns: Sequence[str] | None) -> dict[str, object]:
        """All that the keys depend on. ``columns``: those compared; None if they are not known yet."""
        made_by: dict[str, object] = {
            "keys": _DIGESTS,
            "version": self.version,
            "columns": None if columns is None else sorted(columns),
            "normalize": self.normalize,
            "strip_punctuation": self.strip_punctuation,
        }
        if self.normalize == "python":
            made_by["python"] = _PYTHON
        return made_by

    def _digest(self, columns: Sequence[str]) -> str:
        """Of all that the keys depend on, for the name under which they are stored."""
        return xxh3_64_hexdigest(repr((self._made_by(columns), bool(self.extend))).encode())

    def _digests_of_chunks(self, column: pa.ChunkedArray, name: str) -> Digests:
        import numpy as np

        none = np.empty((0, 2), np.uint64)
        return np.concatenate([none, *(self._digests(chunk, name) for chunk in column.chunks)])

    def _digests(self, column: pa.Array, name: str) -> Digests:
        if name == _TURNS and is_text(column.type):
            return self._digests_of_turns(column)
        normalized = partial(text_digests, normalize=self.normalize, strip_punctuation=self.strip_punctuation)
        return value_digests(column, normalized)

    def _digests_of_turns(self, column: pa.Array) -> Digests:
        """Digest turns that are stored as JSON text because their keys differ between rows."""
        import numpy as np

        key = text_key(self.normalize, self.strip_punctuation)
        found = np.zeros((len(column), 2), np.uint64)
        known = column.is_valid().to_numpy(zero_copy_only=False)
        found[known] = digests_of_bytes(
            [_encoded_turns(text, key) for text in column.to_pylist() if text is not None]
        )
        return found


def _names(rows: StoredRows, duplicate_of: NDArray[np.int64], known: Mapping[int, str]) -> list[str | None]:
    """The ids that ``duplicate_of`` numbers, and those of rows of the index."""
    ids = rows.table(["_id"])["_id"]
    names = [None if number < 0 else ids[number].as_py() for number in duplicate_of.tolist()]
    for row, name in known.items():
        names[row] = name
    return names


def _encoded_turns(text: str, key: Callable[[str], object]) -> bytes:
    """Any text that is not JSON, or is nested too deep, is compared as it is."""
    try:
        return encoded(value_key(json.loads(text), key))
    except (ValueError, RecursionError):
        return encoded(key(text))
