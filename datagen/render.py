"""``render:`` templates into columns: texts that are put together of a row's columns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from ..pipelines.errors import DataError
from ..pipelines.operator import Apply, Failed, Kept, Map, Outcome
from ..pipelines.records import Row
from .prompts.collection import text_prompt
from .trying import BREATH

if TYPE_CHECKING:
    import pyarrow as pa

    from ..pipelines.operator import Context


class Render(Map):
    """Adds (or replaces) a text column for each name: ``render: {prompt: "{{ task }}: {{ note }}"}``.

    Each value is a template as prompts are: the text itself, or the path of a ``.jinja`` file. The row's
    columns, as they come in, are its variables, and so are ``variables``. White space around the text is
    taken off. A row without a column that a template names, or with a null where one would print it, is
    failed with the reason.
    """

    value_field: ClassVar[str | None] = "columns"

    columns: dict[str, str] = Field(min_length=1, description="Column: the template of its text.")
    variables: dict[str, Any] = Field(
        default_factory=dict, description="Values that the templates may name beside the columns."
    )

    @field_validator("columns")
    @classmethod
    def _named(cls, columns: dict[str, str]) -> dict[str, str]:
        for name in columns:
            if not name or name.startswith("_"):
                raise ValueError(
                    f"a column's name does not start with '_' (those are the engine's): found {name!r}"
                )
        return columns

    def content(self) -> Mapping[str, str]:
        return {name: text_prompt(text, _who(name)).digest for name, text in self.columns.items()}

    def inspect(self) -> None:
        self._renderers()

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
        return {
            name: text_prompt(text, _who(name)).renderer(nulls=False) for name, text in self.columns.items()
        }


def _who(column: str) -> str:
    return f"of column {column!r}"
