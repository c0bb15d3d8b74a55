"""The common part of ``score: personal_data`` and ``score: secrets``: count findings and mask them."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias

from pydantic import Field

from ...contracts.column_types import check_held
from ...contracts.context import Context
from ...contracts.errors import DataError
from ...contracts.operators import TableApply, TableMap
from ...contracts.outcomes import TableResult
from ..columns import is_text, require_columns

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Finding:
    """A place in a text (characters ``start`` to ``end``) and what was found there. Never the value."""

    kind: str
    start: int
    end: int


#: The findings in a text, in any order. Where they overlap, the first one counts.
Find: TypeAlias = Callable[[str], Iterable[Finding]]


class SensitiveScore(TableMap):
    """Counts values that a data set should not hold, and masks them if asked to.

    What was found is never written anywhere: not into columns, reasons, the log or the report.
    """

    #: Name of the count; `_kinds` is added for the second column.
    counts: ClassVar[str]
    #: A regular expression (RE2) that a text with a finding always matches: others are not looked at.
    suspect: ClassVar[str]

    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("response",)
    """Columns to look at: texts, or conversations, whose texts are all looked at."""
    replace: bool = False
    """Put a mark such as `[EMAIL]` in the place of each finding. The columns are counted before."""

    @abstractmethod
    def finder(self) -> Find:
        """The function that finds values in one text."""

    def uses_columns(self) -> Iterable[str]:
        return self.columns

    def replaces_columns(self) -> Iterable[str]:
        return self.columns if self.replace else ()

    def check_types(self, types: Mapping[str, pa.DataType]) -> None:
        check_held(self.columns, types, _holds_texts, "text", "CAST({} AS VARCHAR)")

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, self.counts, f"{self.counts}_kinds"]

    def open(self, context: Context) -> TableApply:
        find = self.finder()

        def apply(table: pa.Table) -> TableResult:
            require_columns(table, self.columns, f"score: {self.counts}")
            found: list[Counter[str]] = [Counter() for _ in range(table.num_rows)]
            known = [False] * table.num_rows
            columns: dict[str, Any] = {}
            for name in self.columns:
                masked = self._looked_through(table.column(name), name, find, found, known)
                if self.replace:
                    columns[name] = masked
            return TableResult(columns=columns | self._counted(found, known))

        return apply

    def _looked_through(
        self,
        column: pa.ChunkedArray,
        name: str,
        find: Find,
        found: list[Counter[str]],
        known: list[bool],
    ) -> pa.ChunkedArray:
        """The column with its findings masked, which are added to ``found``."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not _holds_texts(column.type):
            raise DataError(f"score: {self.counts} reads texts; the column '{name}' holds {column.type}")
        if is_text(column.type):
            looked_at = pc.fill_null(pc.match_substring_regex(column, self.suspect), False).to_pylist()
        else:
            looked_at = [True] * len(column)
        values = column.to_pylist()
        for row, (value, suspicious) in enumerate(zip(values, looked_at)):
            known[row] |= value is not None
            if value is not None and suspicious:
                values[row] = _masked(value, find, found[row])
        return pa.chunked_array([pa.array(values, column.type)])

    def _counted(self, found: list[Counter[str]], known: list[bool]) -> dict[str, Any]:
        """Null for rows without any text."""
        import pyarrow as pa

        counts = [each.total() if has else None for each, has in zip(found, known)]
        kinds = [sorted(each) if has else None for each, has in zip(found, known)]
        return {
            self.counts: pa.array(counts, pa.int64()),
            f"{self.counts}_kinds": pa.array(kinds, pa.list_(pa.string())),
        }


def _holds_texts(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts, at any depth."""
    import pyarrow as pa

    return is_text(kind) or bool(pa.types.is_nested(kind) or pa.types.is_null(kind))


def _masked(value: Any, find: Find, found: Counter[str]) -> Any:
    """The value with the findings in its texts masked, however deep they lie."""
    if isinstance(value, str):
        return _masked_text(value, find, found)
    if isinstance(value, dict):
        return {key: _masked(item, find, found) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, find, found) for item in value]
    return value


def _masked_text(text: str, find: Find, found: Counter[str]) -> str:
    kept: list[Finding] = []
    for finding in find(text):
        if all(finding.end <= other.start or finding.start >= other.end for other in kept):
            kept.append(finding)
    for finding in sorted(kept, key=lambda each: -each.start):
        found[finding.kind] += 1
        text = f"{text[: finding.start]}[{finding.kind.upper()}]{text[finding.end :]}"
    return text
