"""A worked solution, and its final number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from .final_number import Find, final_number
from .parser import Parsed, Parser, Unparsed, texts

if TYPE_CHECKING:
    import pyarrow as pa


class NumberParser(Parser):
    """Extracts the whole text, and its final number into ``found``.

    The number is found and written as in ``verify: number``. Equal values have the same text, so that rows
    can vote by it.
    """

    kind: Literal["number"] = "number"
    """Name of this parser."""
    column: str = "response"
    """Column for the text."""
    find: Find = "marked"
    """`marked` uses only a number that the text marks as its answer; `last` falls back to its last number."""

    def read(self, text: str) -> Parsed:
        number = final_number(text, self.find)
        if number is None:
            return Unparsed(
                "no number is marked as the answer" if self.find == "marked" else "there is no number"
            )
        return [{self.column: text.strip(), "found": number.text}]

    def types(self) -> Mapping[str, pa.DataType]:
        return texts(self.column, "found")
