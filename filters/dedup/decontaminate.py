"""Drop training rows that share text with evaluation items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from ...contracts.column_types import reads_as_text
from ...contracts.context import Context
from ...contracts.errors import DataError
from ...contracts.operators import EmbedderRef, StepRef, WholeTable, as_list
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows, TableRows
from ..columns import text_column
from .evaluation_items import KINDS, EvaluationItems, Matched, Passages
from .meaning import Meaning
from .ngram_index import SHORTEST

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_WHO = "decontaminate"
_TURNS = "messages"
#: Columns with a question, which may match as a whole, however short.
_ASKING = ("prompt", "question")
_OTHERS = ("response", _TURNS, "answer", "instruction", "input", "output", "completion", "chosen", "rejected")
_CODE = ("code", "solution", "canonical_solution")
#: Most hits of which both texts are in the summary.
SHOWN_HITS = 100


class Decontaminate(WholeTable):
    """Filters rows that share text, code or meaning with evaluation items.

    Texts are compared by their word n-grams, ignoring case and punctuation, as in appendix C of GPT-3 (Brown
    et al., 2020). An evaluation text of 8 to n - 1 words counts as one n-gram of its own length. A shorter
    one counts only if it equals the whole prompt or question (or first of `columns`) of a row. Equal texts
    always match. The score of a row is its overlap: the share of an item's n-grams that the row contains, or
    of its prompt's or question's alone, for the item with the largest share. Python functions match if they
    differ only in names, comments and layout. With `semantic`, texts match if their embeddings are close; the
    score is then the cosine. The row names the item. The summary has both texts of the first 100 hits, and
    counts per evaluation set. If ``against`` has no rows, all rows are kept.

    Adds:
        contaminated_by (text): step of the item and kind of the match, with `store_hits`; null for kept rows.
        contaminated_text (text): passage of the row, with `store_hits`.
        contaminated_item (text): passage of the item, with `store_hits`.

    Filters:
        contaminated: the row contains n-grams or a function of an evaluation item, or means the same.

    Example:
        clean: {decontaminate: {against: [humaneval, gsm8k], semantic: 0.9}, from: unique}
    """

    value_field: ClassVar[str | None] = "against"
    version: ClassVar[int] = 4

    against: Annotated[
        tuple[StepRef, ...],
        Field(min_length=1),
        BeforeValidator(as_list, json_schema_input_type=str | list[str]),
    ]
    """Step with the evaluation items, or a list of steps."""
    n: Annotated[int, Field(ge=SHORTEST)] = 13
    """Words per n-gram, at least 8. A smaller number finds more matches, and more of them by chance."""
    columns: Annotated[tuple[str, ...], Field(min_length=1)] = (*_ASKING, *_OTHERS, *_CODE)
    """Columns to compare, of the rows and of the items; each with all others. Columns that a table lacks are
    skipped, and by default those that are not text. The turns of `messages` are joined into one text."""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Smallest overlap that filters a row, 0 to 1. The default, 0, filters on any shared n-gram."""
    max_document_frequency: Annotated[int, Field(ge=1)] | None = None
    """Ignore n-grams that occur in more evaluation items than this, such as phrases of a template. By default
    none are ignored."""
    semantic: Annotated[float, Field(gt=0, le=1)] | None = None
    """Smallest cosine of two embeddings that filters a row, up to 1. Each column is embedded on its own. By
    default meaning is not compared."""
    embedder: EmbedderRef | None = None
    """With `semantic`: model with `engine: embedder`. By default the packaged MiniLM."""
    store_hits: bool = False
    """Add both texts of each hit to the rows."""

    def embeds(self) -> bool:
        return self.semantic is not None

    def uses_columns(self) -> Iterable[str]:
        return self.columns

    def check_columns(self, columns: Sequence[str]) -> None:
        self._present(columns, "its rows")

    def check_reference(self, field: str, step: str, columns: Sequence[str]) -> None:
        self._present(columns, f"the evaluation items of '{step}'")

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        if columns is None or not self.store_hits:
            return columns
        return [*columns, "contaminated_by", "contaminated_text", "contaminated_item"]

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Judge all rows, in batches against an index of the items.

        Raises DataError if a table has none of the columns, or if one of them is not text.
        """
        sets = [(step, context.table(step)) for step in self.against]
        sets = [(step, each) for step, each in sets if _own(each.column_names)]
        if not sets:  # a source without files has no columns of its own
            return TableResult(summary={"items": 0, "contaminated_rows": 0})
        for step, each in sets:
            self._present(each.column_names, f"the evaluation items of '{step}'")
        mine = self._present(rows.column_names, "its rows")
        texts, items = self._items([each for _, each in sets], mine)
        matched, bad = self._match(rows, mine, items, context.check)
        if self.semantic is not None:
            meaning = Meaning(texts, self.semantic, self.embedder, context)
            for batch in rows.batches(mine):
                meaning.match(self._texts(batch, mine), batch.column("_row").to_numpy(), matched, bad)
        return self._result(rows, mine, sets, texts, items, matched, bad)

    def match(self, table: pa.Table, items: pa.Table) -> tuple[Matched, NDArray[np.bool_]]:
        """Return the match of each row of ``table`` with one table of items, and which rows are filtered.

        By text and code. Raises DataError as :meth:`judge` does.
        """
        mine = self._present(table.column_names, "its rows")
        return self._match(TableRows(table), mine, self._items([items], mine)[1])

    def _items(self, tables: Sequence[pa.Table], mine: Sequence[str]) -> tuple[pa.Table, EvaluationItems]:
        """The texts of all items, and their index for rows with the columns ``mine``."""
        import pyarrow as pa

        names = [name for name in self.columns if any(name in each.column_names for each in tables)]
        texts = pa.concat_tables([self._texts(each, names) for each in tables])
        return texts, EvaluationItems.of(
            [(texts.column(name), self._whole(name)) for name in names],
            [(name, self._whole(name)) for name in mine],
            self.n,
            self.max_document_frequency,
        )

    def _match(
        self,
        rows: StoredRows,
        names: Sequence[str],
        items: EvaluationItems,
        check: Callable[[], None] = lambda: None,
    ) -> tuple[Matched, NDArray[np.bool_]]:
        matched = Matched.none(rows.num_rows)
        look_up = partial(self._matches, items, tuple(names))
        for found in rows.map(look_up, names, name=f"matches-{items.digest}").batches():
            check()
            place = found.column("_row").to_numpy()
            matched.item[place] = found.column("item").to_numpy()
            matched.score[place] = found.column("overlap").to_numpy()
            matched.kind[place] = found.column("kind").to_numpy()
        return matched, (matched.item >= 0) & (matched.score >= self.threshold)

    def _matches(self, items: EvaluationItems, names: Sequence[str], table: pa.Table) -> pa.Table:
        """The rows of a batch that share anything with an item."""
        return items.matches(self._texts(table, names).append_column("_row", table.column("_row")))

    def _result(
        self,
        rows: StoredRows,
        names: Sequence[str],
        sets: Sequence[tuple[str, pa.Table]],
        texts: pa.Table,
        items: EvaluationItems,
        matched: Matched,
        bad: NDArray[np.bool_],
    ) -> TableResult:
        import numpy as np

        ids = [row_id for _, each in sets for row_id in each.column("_id").to_pylist()]
        ends = np.cumsum([each.num_rows for _, each in sets])
        of_set = np.searchsorted(ends, matched.item, side="right")
        labels = [sets[each][0] if hit else "" for each, hit in zip(of_set.tolist(), bad.tolist())]
        hits = self._hits(rows, names, texts, matched, bad, labels)
        duplicate_of: list[str | None] = [None] * rows.num_rows
        for row in np.flatnonzero(bad).tolist():
            duplicate_of[row] = ids[matched.item[row]]
        return TableResult(
            kept=~bad,
            rule="contaminated",
            score=matched.score,
            duplicate_of=duplicate_of,
            columns=_columns(hits, rows.num_rows) if self.store_hits else {},
            summary={
                "items": len(ids),
                "contaminated_rows": int(bad.sum()),
                "contaminated_items": len(set(matched.item[bad].tolist())),
                "ignored_ngrams": items.index.ignored,
                "unseen_items": items.index.unseen,
                "only_whole_items": items.index.only_whole,
                "kinds": {name: int((bad & (matched.kind == kind)).sum()) for kind, name in enumerate(KINDS)},
                "sets": {
                    step: {
                        "items": each.num_rows,
                        "contaminated_rows": int((bad & (of_set == number)).sum()),
                        "contaminated_items": len(set(matched.item[bad & (of_set == number)].tolist())),
                    }
                    for number, (step, each) in enumerate(sets)
                },
                "hits": [hits[row] for row in sorted(hits)[:SHOWN_HITS]],
            },
        )

    def _hits(
        self,
        rows: StoredRows,
        names: Sequence[str],
        texts: pa.Table,
        matched: Matched,
        bad: NDArray[np.bool_],
        sets: Sequence[str],
    ) -> dict[int, dict[str, Any]]:
        """Row -> its hit with both texts: of all rows with `store_hits`, else of the first."""
        import numpy as np

        wanted = np.flatnonzero(bad)
        wanted = wanted if self.store_hits else wanted[:SHOWN_HITS]
        found: dict[int, dict[str, Any]] = {}
        for batch in rows.batches(["_id", *names]) if len(wanted) else ():
            numbers = batch.column("_row").to_numpy()
            mine = np.flatnonzero(np.isin(numbers, wanted))
            some = batch.take(mine)
            for number, row_id, text in zip(
                numbers[mine].tolist(), some.column("_id").to_pylist(), _joined(self._texts(some, names))
            ):
                item = int(matched.item[number])
                both = Passages.of(text, _joined(texts.slice(item, 1))[0], self.n)
                found[number] = {
                    "row": row_id,
                    "set": sets[number],
                    "kind": KINDS[matched.kind[number]],
                    "score": float(matched.score[number]),
                    "text": both.row,
                    "item_text": both.item,
                }
        return found

    def _whole(self, name: str) -> bool:
        return name in _ASKING or name == self.columns[0]

    def _present(self, columns: Sequence[str], what: str) -> list[str]:
        """The columns to compare that are there."""
        present = [name for name in self.columns if name in columns]
        if not present:
            raise DataError(
                f"{_WHO} compares {', '.join(self.columns)}, and {what} have none of them; set `columns` to "
                f"some of: {', '.join(_own(columns))}"
            )
        return present

    def _texts(self, table: pa.Table, names: Sequence[str]) -> pa.Table:
        """The named columns as text; null if the table lacks one, or, by default, if it is not text."""
        import pyarrow as pa

        present = [name for name in names if name in table.column_names]
        if present and not any(self._readable(table, name) for name in present):
            held = ", ".join(f"{name} holds {table.column(name).type}" for name in present)
            raise DataError(
                f"{_WHO}: none of its columns holds text: {held}; set `columns`, or bring the rows to one "
                "layout by `unify: auto` first"
            )
        nothing = pa.chunked_array([pa.nulls(table.num_rows, pa.large_string())])
        columns = [
            text_column(table, name, _WHO) if self._readable(table, name) else nothing for name in names
        ]
        return pa.table(columns, names=list(names))

    def _readable(self, table: pa.Table, name: str) -> bool:
        """Whether the table has the column. One that nobody named is left out if it is not text."""
        if name not in table.column_names:
            return False
        return "columns" in self.model_fields_set or reads_as_text(table.column(name).type)


def _own(columns: Sequence[str]) -> list[str]:
    """The columns that are not reserved for the runner."""
    return [name for name in columns if not name.startswith("_")]


def _joined(texts: pa.Table) -> list[str]:
    """The texts of each row, joined by line breaks."""
    return ["\n".join(text for text in row.values() if text) for row in texts.to_pylist()]


def _columns(hits: dict[int, dict[str, Any]], rows: int) -> dict[str, pa.Array]:
    import pyarrow as pa

    def column(value: Any) -> pa.Array:
        return pa.array([value(hits[row]) if row in hits else None for row in range(rows)], pa.string())

    return {
        "contaminated_by": column(lambda hit: f"{hit['set']}: {hit['kind']}"),
        "contaminated_text": column(lambda hit: hit["text"]),
        "contaminated_item": column(lambda hit: hit["item_text"]),
    }
