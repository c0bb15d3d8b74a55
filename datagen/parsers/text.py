"""The text as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import NonNegativeInt, PositiveInt

from .parser import Parsed, Parser, Unparsed, texts

if TYPE_CHECKING:
    import pyarrow as pa


class TextParser(Parser):
    """Takes the whole text, without white space around it."""

    kind: Literal["text"] = "text"
    """Name of this parser."""
    column: str = "response"
    """Column for the text."""
    min_length: NonNegativeInt = 1
    """Shortest text, in characters; a shorter one fails."""
    max_length: PositiveInt | None = None
    """Longest text, in characters; a longer one fails. By default there is no limit."""

    def read(self, text: str) -> Parsed:
        stripped = text.strip()
        if len(stripped) < self.min_length:
            return Unparsed(f"{len(stripped)} characters, fewer than {self.min_length}")
        if self.max_length is not None and len(stripped) > self.max_length:
            return Unparsed(f"{len(stripped)} characters, more than {self.max_length}")
        return [{self.column: stripped}]

    def types(self) -> Mapping[str, pa.DataType]:
        return texts(self.column)
