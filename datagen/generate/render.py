"""``render:`` adds text columns that templates make from other columns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from ...contracts.errors import DataError
from ...contracts.mistakes import Collected
from ...contracts.operators import Apply, Map
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from ..prompts.collection import text_prompt
from ..prompts.template_mistakes import check_names, check_template, named
from .sampling_loop import BREATH

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context


class Render(Map):
    """Adds text columns, each rendered from the row's columns by a template.

    A column that exists is replaced. Templates read the incoming columns of the row. White space around the
    text is removed. A row fails if a template uses a column that the row lacks, or would print a null.

    Adds:
        a text column for each name in `columns`.

    Example:
        asked: {render: {prompt: "{{ task }}: {{ note }}"}, from: tasks}
    """

    value_field: ClassVar[str | None] = "columns"

    columns: dict[str, str] = Field(min_length=1)
    """Template of each column, as `{COLUMN: TEMPLATE}`: the text itself, or the path of a `.jinja` file."""
    variables: dict[str, Any] = Field(default_factory=dict)
    """Additional variables of the templates."""

    @field_validator("columns")
    @classmethod
    def _named(cls, columns: dict[str, str]) -> dict[str, str]:
        for name in columns:
            if not name or name.startswith("_"):
                raise ValueError(
                    f"a column name must not start with '_' (reserved for the runner): found {name!r}"
                )
        return columns

    def content(self) -> Mapping[str, str]:
        return {name: text_prompt(text, _who(name)).digest for name, text in self.columns.items()}

    def inspect(self) -> None:
        with Collected() as found:
            for name, text in self.columns.items():
                with found.at("columns", name):
                    check_template(text_prompt(text, _who(name)))

    def check_columns(self, columns: Sequence[str]) -> None:
        with Collected() as found:
            for name, text in self.columns.items():
                with found.at("columns", name):
                    check_names(text_prompt(text, _who(name)), columns, self.variables)

    def names_columns(self) -> Iterable[str]:
        return self._named_in(self.columns)

    def _named_in(self, columns: Iterable[str]) -> Iterable[str]:
        texts = [partial(text_prompt, self.columns[name], _who(name)) for name in columns]
        return named(texts) - set(self.variables)

    def derived_from(self, column: str) -> Iterable[str]:
        return self._named_in([column])

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, *self.columns]

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return dict.fromkeys(self.columns, pa.string())

    def open(self, context: Context) -> Apply:
        renderers = self._renderers()

        def rendered(row: Row) -> Outcome:
            values = {**{name: value for name, value in row.items() if name[0] != "_"}, **self.variables}
            try:
                return Kept({name: render(values) for name, render in renderers.items()})
            except DataError as error:
                return Failed(str(error))

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            outcomes = []
            begun = time.monotonic()
            for row in rows:
                if time.monotonic() - begun > BREATH:
                    await asyncio.sleep(0)
                    begun = time.monotonic()
                outcomes.append([rendered(row)])
            return outcomes

        return apply

    def _renderers(self) -> dict[str, Any]:
        return {name: text_prompt(text, _who(name)).renderer() for name, text in self.columns.items()}


def _who(column: str) -> str:
    return f"of column {column!r}"
