"""A worked solution, and the number at which it arrives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from ..verifying.final_number import Find, final_number
from .parser import Parsed, Parser, Unparsed, texts

if TYPE_CHECKING:
    import pyarrow as pa


class NumberParser(Parser):
    """The whole text, without white space around it, in ``column``, and its final number in ``found``.

    The number is found and written as ``verify: number`` does: one text for equal values, so that rows can vote by
    it. Fails where there is none (where the text marks none as its answer, with ``find: marked``).
    """

    kind: Literal["number"] = "number"
    column: str = "response"
    find: Find = "marked"

    def read(self, text: str) -> Parsed:
        number = final_number(text, self.find)
        if number is None:
            return Unparsed(
                "no number is marked as the answer" if self.find == "marked" else "there is no number"
            )
        return [{self.column: text.strip(), "found": number.text}]

    def types(self) -> Mapping[str, pa.DataType]:
        return texts(self.column, "found")
