"""Several fenced code blocks of one answer, each in its own column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from .code import blocks
from .parser import Parsed, Parser, Unparsed, texts

if TYPE_CHECKING:
    import pyarrow as pa


class BlocksParser(Parser):
    """Extracts several fenced code blocks of an answer, in order, each into its own column.

    An unclosed fence or an empty block is an error.
    """

    kind: Literal["blocks"] = "blocks"
    """Name of this parser."""
    columns: tuple[str, ...] = Field(min_length=2)
    """Columns for the blocks, in order, one per block."""
    language: str | None = None
    """Use only blocks marked with this language. By default all are used."""
    further: Literal["fail", "ignore"] = "fail"
    """How to treat blocks beyond the last column: `fail` the answer, or `ignore` them."""

    def read(self, text: str) -> Parsed:
        found = list(blocks(text))
        if found and found[-1][1] is None:
            return Unparsed("a code fence is not closed")
        wanted = [
            code or "" for mark, code in found if self.language is None or mark == self.language.lower()
        ]
        count = len(self.columns)
        if len(wanted) < count or (len(wanted) > count and self.further == "fail"):
            kind = f"{self.language} " if self.language else ""
            return Unparsed(f"{len(wanted)} {kind}code blocks, expected {count}")
        row = dict(zip(self.columns, wanted, strict=False))
        empty = next((name for name, code in row.items() if not code.strip()), None)
        return [row] if empty is None else Unparsed(f"the code block for {empty!r} is empty")

    def types(self) -> Mapping[str, pa.DataType]:
        return texts(*self.columns)
