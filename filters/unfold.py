"""``unfold:`` turns several columns of a row into several rows with one column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, model_validator

from ..contracts.operators import Apply, Estimate, Map
from ..contracts.outcomes import Failed, Filtered, Kept, Outcome
from ..contracts.rows import Row

if TYPE_CHECKING:
    import pyarrow as pa

    from ..contracts.context import Context


class Unfold(Map):
    """Makes one row per column of a list of columns.

    For example ``unfold: {critique: [critique_1, critique_2], gain: [gain_1, gain_2]}``. The first new row
    takes its values from the first column of each list, and so on. All other columns are copied from the
    parent.

    Adds:
        item (int32): index of the entry in the lists, from 0.

    Filters:
        null: all values of the entry are null.

    Example:
        each: {unfold: {response: [before, after]}, from: edits}
    """

    value_field: ClassVar[str | None] = "columns"
    makes_rows: ClassVar[bool] = True

    columns: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(min_length=1)
    """New columns, each with the list of columns that it takes its values from. The lists have the same
    length."""

    @model_validator(mode="after")
    def _of_one_length(self) -> Self:
        lengths = {name: len(sources) for name, sources in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the lists of columns must have the same length; found {lengths}")
        if "item" in self.columns or any(name.startswith("_") for name in self.columns):
            raise ValueError(f"'item' and names that start with '_' are reserved; found {list(self.columns)}")
        return self

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=rows * self._entries)

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {"item": pa.int32()}

    def uses_columns(self) -> Iterable[str]:
        return [name for sources in self.columns.values() for name in sources]

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, *self.columns, "item"]

    def open(self, context: Context) -> Apply:
        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            return [self._rows(row) for row in rows]

        return apply

    @property
    def _entries(self) -> int:
        return len(next(iter(self.columns.values())))

    def _rows(self, row: Row) -> list[Outcome]:
        missing = [name for sources in self.columns.values() for name in sources if name not in row]
        if missing:
            return [Failed(f"column {missing[0]!r} is missing")]
        made: list[Outcome] = []
        for item in range(self._entries):
            entry: Row = {name: row[sources[item]] for name, sources in self.columns.items()}
            empty = all(value is None for value in entry.values())
            entry["item"] = item
            made.append(Filtered("null", row=entry) if empty else Kept(entry))
        return made
