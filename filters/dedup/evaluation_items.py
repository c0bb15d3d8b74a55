"""The items of evaluation sets as an index, and the passages that a row shares with one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from ...contracts.printable import shown
from .code_shape import function_shapes
from .ngram_index import Column, NgramIndex
from .words import word_pattern, words_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

#: Rows looked up at once. Bounds the memory, even if many items share an n-gram.
BLOCK = 4096
#: How a row matches an item, by number.
KINDS = ("exact", "ngram", "code", "semantic")
EXACT, NGRAM, CODE, SEMANTIC = range(4)
#: Most characters of a passage.
PASSAGE = 240


@dataclass(frozen=True, slots=True)
class EvaluationItems:
    """What is known of all items: picklable, so that workers can look rows up.

    ``shapes``: digest of a function's body -> item. ``columns``: the columns of rows to look at, with whether
    their texts may match as a whole.
    """

    index: NgramIndex
    shapes: dict[bytes, int]
    columns: tuple[tuple[str, bool], ...]

    @staticmethod
    def of(
        texts: Sequence[Column], columns: Sequence[tuple[str, bool]], n: int, most: int | None
    ) -> EvaluationItems:
        """Index the items. ``texts``: one column each; ``columns``: those of the rows to look at."""
        shapes: dict[bytes, int] = {}
        for values, _ in texts:
            for item, text in enumerate(values.to_pylist() if hasattr(values, "to_pylist") else values):
                for shape in function_shapes(text or ""):
                    shapes.setdefault(shape, item)
        return EvaluationItems(NgramIndex(texts, n, most), shapes, tuple(columns))

    @property
    def digest(self) -> str:
        parts = (self.index.digest, sorted(self.shapes.items()), self.columns)
        return blake2b(repr(parts).encode(), digest_size=8).hexdigest()

    def matches(self, table: pa.Table) -> pa.Table:
        """Return the rows that share anything with an item: ``_row``, ``item``, ``overlap`` and ``kind``."""
        import pyarrow as pa

        found = [self._block(table.slice(start, BLOCK)) for start in range(0, table.num_rows, BLOCK)]
        return pa.concat_tables(found or [self._block(table)])

    def _block(self, table: pa.Table) -> pa.Table:
        import numpy as np
        import pyarrow as pa

        texts = [(table.column(name), whole) for name, whole in self.columns]
        overlap, item, equal = self.index.overlap(texts)
        kind = np.where(equal, EXACT, NGRAM).astype(np.int8)
        for row, known in self._same_shape(table):
            if overlap[row] < 1.0:
                overlap[row], item[row], kind[row] = 1.0, known, CODE
        hit = np.flatnonzero(item >= 0)
        return pa.table(
            {
                "_row": table.column("_row").take(hit),
                "item": item[hit],
                "overlap": overlap[hit],
                "kind": kind[hit],
            }
        )

    def _same_shape(self, table: pa.Table) -> list[tuple[int, int]]:
        """(row, item) of the rows that hold a function with the shape of an item's."""
        import pyarrow.compute as pc

        found = []
        for name, _ in self.columns if self.shapes else ():
            column = table.column(name)
            some = pc.indices_nonzero(pc.fill_null(pc.match_substring(column, "def "), False))
            for row, text in zip(some.to_pylist(), column.take(some).to_pylist()):
                for shape in function_shapes(text):
                    if shape in self.shapes:
                        found.append((row, self.shapes[shape]))
        return found


@dataclass(frozen=True, slots=True)
class Matched:
    """Per row: the number of its item (int64, -1 for none), the score (float64), the kind of match (int8)."""

    item: NDArray[np.int64]
    score: NDArray[np.float64]
    kind: NDArray[np.int8]

    @staticmethod
    def none(rows: int) -> Matched:
        import numpy as np

        return Matched(np.full(rows, -1, np.int64), np.zeros(rows), np.zeros(rows, np.int8))


@dataclass(frozen=True, slots=True)
class Passages:
    """The texts of a row and of an item around what they share, safe to show."""

    row: str
    item: str

    @staticmethod
    def of(row: str, item: str, n: int) -> Passages:
        """The passages from the first n-gram (of 8 words, or of all of a shorter item) that both have."""
        size = max(1, min(n, len(words_of(item))))
        for length in dict.fromkeys((size, min(8, size))):
            ours, theirs = _starts(row, length), _starts(item, length)
            same = next((gram for gram in ours if gram in theirs), None)
            if same is not None:
                return Passages(_cut(row, ours[same]), _cut(item, theirs[same]))
        return Passages(_cut(row, 0), _cut(item, 0))


def _starts(text: str, length: int) -> dict[tuple[str, ...], int]:
    """n-gram -> where it starts in the text."""
    places = [(found[0].casefold(), found.start()) for found in word_pattern(text).finditer(text)]
    found: dict[tuple[str, ...], int] = {}
    for start in range(len(places) - length + 1):
        found.setdefault(tuple(word for word, _ in places[start : start + length]), places[start][1])
    return found


def _cut(text: str, start: int) -> str:
    """At most ``PASSAGE`` characters from there on, safe to show."""
    part = text[start : start + PASSAGE]
    return shown(("…" if start else "") + part + ("…" if start + PASSAGE < len(text) else ""))
