"""Numbered lists."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from .parser import Parsed, Parser, Unparsed, texts

if TYPE_CHECKING:
    import pyarrow as pa

_ITEM = re.compile(r"\s{0,3}(\d{1,4})[.)]\s+(.*)")


class NumberedListParser(Parser):
    """Extracts the items of a list numbered 1, 2, 3, ..., and makes one row per item.

    Lines without the next number belong to the previous item. Text before item 1 is ignored.
    """

    kind: Literal["numbered_list"] = "numbered_list"
    """Name of this parser."""
    column: str = "item"
    """Column for the item."""
    min_items: PositiveInt = 1
    """Minimum number of items; a shorter list fails."""
    max_items: PositiveInt | None = None
    """Maximum number of items; a longer list fails. By default there is no limit."""

    def read(self, text: str) -> Parsed:
        items: list[list[str]] = []
        for line in text.splitlines():
            match = _ITEM.fullmatch(line)
            if match and int(match.group(1)) == len(items) + 1:
                items.append([match.group(2)])
            elif items:
                items[-1].append(line)
        found = ["\n".join(lines).strip() for lines in items]
        if "" in found:
            return Unparsed(f"item {found.index('') + 1} of the list is empty")
        if len(found) < self.min_items:
            return Unparsed(f"a numbered list of {len(found)} items, fewer than {self.min_items}")
        if self.max_items is not None and len(found) > self.max_items:
            return Unparsed(f"a numbered list of {len(found)} items, more than {self.max_items}")
        return [{self.column: item} for item in found]

    def types(self) -> Mapping[str, pa.DataType]:
        return texts(self.column)
