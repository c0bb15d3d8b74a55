"""The text as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import NonNegativeInt, PositiveInt

from .parser import Parsed, Parser, Unparsed, texts

if TYPE_CHECKING:
    import pyarrow as pa


class TextParser(Parser):
    """The whole text, without white space around it, in ``column``. Lengths are in characters."""

    kind: Literal["text"] = "text"
    column: str = "response"
    min_length: NonNegativeInt = 1
    max_length: PositiveInt | None = None

    def read(self, text: str) -> Parsed:
        stripped = text.strip()
        if len(stripped) < self.min_length:
            return Unparsed(f"{len(stripped)} characters, fewer than {self.min_length}")
        if self.max_length is not None and len(stripped) > self.max_length:
            return Unparsed(f"{len(stripped)} characters, more than {self.max_length}")
        return [{self.column: stripped}]

    def types(self) -> Mapping[str, pa.DataType]:
        return texts(self.column)
