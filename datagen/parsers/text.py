"""The whole text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import NonNegativeInt, PositiveInt

from .parser import Parsed, Parser, Unparsed, texts

if TYPE_CHECKING:
    import pyarrow as pa


class TextParser(Parser):
    """Extracts the whole text, stripped of surrounding white space."""

    kind: Literal["text"] = "text"
    """Name of this parser."""
    column: str = "response"
    """Column for the text."""
    min_length: NonNegativeInt = 1
    """Minimum length in characters; a shorter text fails."""
    max_length: PositiveInt | None = None
    """Maximum length in characters; a longer text fails. By default there is no limit."""

    def read(self, text: str) -> Parsed:
        stripped = text.strip()
        if len(stripped) < self.min_length:
            return Unparsed(f"{len(stripped)} characters, fewer than {self.min_length}")
        if self.max_length is not None and len(stripped) > self.max_length:
            return Unparsed(f"{len(stripped)} characters, more than {self.max_length}")
        return [{self.column: stripped}]

    def types(self) -> Mapping[str, pa.DataType]:
        return texts(self.column)
