"""Drop training rows that share text with evaluation items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import BeforeValidator, Field

from ...contracts.errors import DataError
from ...contracts.operators import Context, StepRef, TableResult, WholeTable
from ..columns import text_column, turns_as_text
from .ngram_index import SHORTEST, Column, NgramIndex

if TYPE_CHECKING:
    import pyarrow as pa

_WHO = "decontaminate"
_TURNS = "messages"
#: Rows looked up at once. Bounds the memory, even if many items share an n-gram.
BLOCK = 4096


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Decontaminate(WholeTable):
    """Filters rows that share text with evaluation items.

    Texts are compared by their word n-grams, ignoring case and punctuation, as in appendix C of GPT-3 (Brown
    et al., 2020). An evaluation text of 8 to n - 1 words counts as one n-gram of its own length. A shorter
    one counts only if it equals the whole first column of a row. Equal texts always match. The score of a
    row is its overlap: the share of an item's n-grams that the row contains, for the item with the largest
    share. The row names that item. If ``against`` has no rows, all rows are kept.

    Filters:
        contaminated: the row contains n-grams of an evaluation item.

    Example:
        clean: {decontaminate: {against: evals}, from: unique}
    """

    value_field: ClassVar[str | None] = "against"
    version: ClassVar[int] = 2

    against: Annotated[
        tuple[StepRef, ...],
        Field(min_length=1),
        BeforeValidator(_as_list, json_schema_input_type=str | list[str]),
    ]
    """Step with the evaluation items, or a list of steps."""
    n: Annotated[int, Field(ge=SHORTEST)] = 13
    """Words per n-gram, at least 8. A smaller number finds more matches, and more of them by chance."""
    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("prompt", "response", _TURNS)
    """Columns to compare, each with the same column of the items. Columns that a table lacks are skipped. The
    turns of `messages` are joined into one text."""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Smallest overlap that filters a row, 0 to 1. The default, 0, filters on any shared n-gram."""
    max_document_frequency: Annotated[int, Field(ge=1)] | None = None
    """Ignore n-grams that occur in more evaluation items than this, such as phrases of a template. By default
    none are ignored."""

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns

    def apply(self, table: pa.Table, context: Context) -> TableResult:
        """Judge all rows.

        Raises DataError if a table has none of the columns, or if one of them is not text.
        """
        import numpy as np
        import pyarrow as pa

        table = self._readable(table)
        named = [(step, self._readable(context.table(step))) for step in self.against]
        tables = [(step, each) for step, each in named if _own_columns(each)]
        if not tables:  # a source without files has no columns of its own
            return TableResult(summary={"items": 0, "contaminated_rows": 0})
        names = [name for name in self.columns if any(name in each.column_names for _, each in tables)]
        for step, each in tables:
            self._texts(each, f"the evaluation items of '{step}'")
        self._texts(table, "its rows")
        evaluation = pa.concat_tables(
            [_only(each, names) for _, each in tables],
        )
        ids = [row_id for _, each in tables for row_id in each.column("_id").to_pylist()]
        index = NgramIndex(
            self._texts(evaluation, "the evaluation items"), self.n, self.max_document_frequency
        )
        overlap, item = np.zeros(table.num_rows), np.full(table.num_rows, -1, dtype=np.int64)
        for start in range(0, table.num_rows, BLOCK):
            context.check()
            block = self._texts(table.slice(start, BLOCK), "its rows")
            part = slice(start, start + BLOCK)
            overlap[part], item[part] = index.overlap(block)
            context.progress(min(start + BLOCK, table.num_rows), table.num_rows, "rows")
        bad = (overlap > 0) & (overlap >= self.threshold)
        return TableResult(
            kept=~bad,
            rule="contaminated",
            score=overlap,
            duplicate_of=[ids[i] if found else None for found, i in zip(bad.tolist(), item.tolist())],
            summary={
                "items": len(ids),
                "contaminated_rows": int(bad.sum()),
                "contaminated_items": len(set(item[bad].tolist())),
                "ignored_ngrams": index.ignored,
                "unseen_items": index.unseen,
            },
        )

    def _readable(self, table: pa.Table) -> pa.Table:
        return turns_as_text(table, _TURNS) if _TURNS in self.columns else table

    def _texts(self, table: pa.Table, what: str) -> list[Column]:
        """The columns that the table has. Texts of the first named column may match as a whole."""
        present = [name for name in self.columns if name in table.column_names]
        if not present:
            raise DataError(
                f"{_WHO} compares {', '.join(self.columns)}, and {what} have none of them; set `columns` to "
                f"some of: {', '.join(_own_columns(table))}"
            )
        return [(text_column(table, name, _WHO).to_pylist(), name == self.columns[0]) for name in present]


def _own_columns(table: pa.Table) -> list[str]:
    """The columns that are not reserved for the runner."""
    return [name for name in table.column_names if not name.startswith("_")]


def _only(table: pa.Table, names: list[str]) -> pa.Table:
    """The named columns as text; null if the table lacks one."""
    import pyarrow as pa

    nothing = pa.chunked_array([pa.nulls(table.num_rows, pa.large_string())])
    columns = [text_column(table, name, _WHO) if name in table.column_names else nothing for name in names]
    return pa.table(columns, names=names)
