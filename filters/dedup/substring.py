"""Drop rows that share long passages with earlier rows, or cut the passages out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from xxhash import xxh3_64_hexdigest

from ...contracts.context import Context
from ...contracts.operators import WholeTable
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import ROW, StoredRows
from ..columns import require_named, text_column
from .first_occurrence import HIGH, LOW
from .passages import GRAM, PLACE, WHO, elected_grams, shared_grams, shared_windows, windows_with
from .shared_text import Owners, SharedText

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


class SubstringDedup(WholeTable):
    """Drops rows that share a long passage with an earlier row, or cuts the passage out of the later text.

    A passage is any run of at least `length` equal characters. All of them are found (Lee et al., 2022, arXiv
    2107.06499, find them by a suffix array), and no others: windows of the texts are compared by 128 bits.
    The first row with a passage keeps it. What only dropped rows have counts as new. Passages that occur
    twice in one row stay, and so do null texts.

    Filters:
        substring_duplicate: shares passages with an earlier row; the score is the share of its characters.

    Example:
        fresh: {dedup: substring, from: exact, column: response, length: 200, action: cut}
    """

    column: str = "response"
    """Column with the texts. Case, white space and punctuation count."""
    length: Annotated[int, Field(ge=16)] = 200
    """Characters of the shortest passage, at least 16. The default is about 50 tokens of English. A shorter
    one finds common phrases."""
    action: Literal["drop", "cut"] = "drop"
    """`drop` filters the later row. `cut` removes the passages from its text and filters it only if white
    space is left."""
    share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Smallest share of a text's characters, 0 to 1, that lies in passages of earlier rows. Rows that share
    less stay as they are. The default, 0, takes any passage."""

    def uses_columns(self) -> Iterable[str]:
        return [self.column]

    def uses_text(self) -> Iterable[str]:
        return (self.column,)

    def replaces_columns(self) -> Iterable[str]:
        return [self.column] if self.action == "cut" else ()

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Judge all rows. Raises DataError if the column is missing or not text.

        Takes time in proportion to the characters. Beside one chunk of texts, it holds 50 bytes per shared
        character, and the whole column with `cut`.
        """
        import numpy as np

        require_named(rows.column_names, [self.column], WHO)
        score = np.zeros(rows.num_rows)
        taken = self._taken(rows, score, context)
        gone = taken
        columns: dict[str, pa.ChunkedArray] = {}
        if self.action == "cut":
            columns[self.column], gone = self._cut(rows, taken)
        duplicate_of = np.full(rows.num_rows, -1, np.int64)
        for row, shared in gone.items():
            duplicate_of[row] = shared.of
        return TableResult(
            kept=duplicate_of < 0,
            rule="substring_duplicate",
            score=score,
            duplicate_of=duplicate_of,
            columns=columns,
            summary={
                "rows_with_passages": int((score > 0).sum()),
                "characters_taken": sum(each.characters for each in taken.values()),
            },
        )

    def _taken(self, rows: StoredRows, score: NDArray[np.float64], context: Context) -> dict[int, SharedText]:
        """What is dropped or cut, by the number of the row. Fills in the score of each row."""
        sizes = self._sizes(rows)
        owners = Owners(self._shared_windows(rows, context), self.length)
        taken = {}
        for shared, new in owners.rows():
            row = shared.row
            score[row] = shared.characters / sizes[row]
            if shared.spans and score[row] >= self.share:
                taken[row] = shared
            if row not in taken or self.action == "cut":
                owners.keep(row, new)
        return taken

    def _sizes(self, rows: StoredRows) -> NDArray[np.int64]:
        """The number of characters of each text; 0 for null."""
        import numpy as np
        import pyarrow.compute as pc

        sizes = np.zeros(rows.num_rows, np.int64)
        for batch in rows.batches([self.column]):
            characters = pc.utf8_length(text_column(batch, self.column, WHO))
            sizes[batch[ROW].to_numpy()] = pc.fill_null(characters, 0).to_numpy()
        return sizes

    def _shared_windows(self, rows: StoredRows, context: Context) -> dict[str, NDArray[np.int64]]:
        """The windows of `length` characters that several rows have."""
        import numpy as np

        request = repr((self.version, self.column, self.length))
        name = f"substring_{xxh3_64_hexdigest(request.encode())}"
        grams_of = partial(elected_grams, column=self.column, length=self.length)
        elected = rows.map(grams_of, [self.column], name=f"{name}_grams")
        context.check()
        shared = elected.group(shared_grams, GRAM, name=f"{name}_shared_grams")
        grams = np.unique(_arrays(shared, [GRAM])[GRAM])
        context.check()
        with_grams = partial(windows_with, column=self.column, length=self.length, grams=grams)
        windows = rows.map(with_grams, [self.column], name=f"{name}_windows")
        context.check()
        found = windows.group(shared_windows, HIGH, name=f"{name}_shared_windows")
        return _arrays(found, [ROW, PLACE, HIGH, LOW])

    def _cut(
        self, rows: StoredRows, taken: dict[int, SharedText]
    ) -> tuple[pa.ChunkedArray, dict[int, SharedText]]:
        """The column without the passages, and those of ``taken`` of which only white space is left."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        emptied: dict[int, SharedText] = {}
        chunks: list[pa.Array] = []
        for batch in rows.batches([self.column]):
            texts = text_column(batch, self.column, WHO).combine_chunks()
            numbers = batch[ROW].to_numpy()
            changed = np.array([row in taken for row in numbers.tolist()], bool)
            cut = []
            for row, text in zip(numbers[changed].tolist(), texts.filter(pa.array(changed)).to_pylist()):
                cut.append(_without(text, taken[row].spans))
                if not cut[-1].strip():
                    emptied[row] = taken[row]
            chunks.append(pc.replace_with_mask(texts, pa.array(changed), pa.array(cut, pa.large_string())))
        return pa.chunked_array(chunks, pa.large_string()), emptied


def _without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """The text without the spans."""
    starts = [0, *(end for _, end in spans)]
    ends = [*(start for start, _ in spans), len(text)]
    return "".join(text[start:end] for start, end in zip(starts, ends))


def _arrays(rows: StoredRows, names: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Columns of numbers of all rows."""
    import numpy as np

    stored = [name for name in names if name != ROW]  # which every batch has
    batches = [[batch[name].to_numpy() for name in names] for batch in rows.batches(stored)]
    return {
        name: np.concatenate([np.empty(0, np.int64), *(batch[place] for batch in batches)])
        for place, name in enumerate(names)
    }
