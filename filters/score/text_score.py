"""The common part of the scores that judge one text of each row: which column, and how columns are named."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from pydantic import Field

from ...contracts.context import Context
from ...contracts.operators import TableApply, TableMap
from ...contracts.outcomes import TableResult
from ..columns import text_column, without_nan

if TYPE_CHECKING:
    import pyarrow as pa

#: Texts (large strings, null where a row has none) -> the columns to add, each of the same length.
TextScorer: TypeAlias = "Callable[[pa.ChunkedArray], Mapping[str, pa.Array | pa.ChunkedArray]]"


class TextScore(TableMap):
    """Scores one text of each row. A row without text has null in every added column."""

    #: The columns that the score adds, without the prefix.
    adds: ClassVar[tuple[str, ...]] = ()

    column: str = "response"
    """Column with the text to score. The turns of a conversation are joined into one text."""
    prefix: str = Field("", pattern=r"^([A-Za-z]\w*)?$")
    """Put before the names of the added columns, to score several columns of the same rows."""

    @abstractmethod
    def scorer(self, context: Context) -> TextScorer:
        """Load what the score needs, and return the function that scores a batch of texts."""

    def uses_columns(self) -> Iterable[str]:
        return (self.column,)

    def uses_text(self) -> Iterable[str]:
        return (self.column,)

    def added(self) -> Sequence[str]:
        """The names of the added columns, with the prefix."""
        return [self.prefix + name for name in self.adds]

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, *self.added()]

    def open(self, context: Context) -> TableApply:
        """Load the scorer. Raises DataError if the column is missing or holds no text."""
        score = self.scorer(context)

        def apply(table: pa.Table) -> TableResult:
            import pyarrow as pa

            found = score(self.texts(table))
            known = without_nan(pa.table(dict(found)))
            return TableResult(columns={self.prefix + name: known.column(name) for name in found})

        return apply

    def texts(self, table: pa.Table) -> pa.ChunkedArray:
        """The texts to score, as large strings."""
        return text_column(table, self.column, f"score of {self.column!r}")


def each(texts: pa.ChunkedArray, judge: Callable[[str], object]) -> list[object]:
    """``judge`` of each text; None for a null. For what no Arrow function can compute."""
    return [None if text is None else judge(text) for text in texts.to_pylist()]
