"""Groups of a regular expression, in time linear in the text (RE2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import field_validator

from .parser import Parsed, Parser, Unparsed, texts

if TYPE_CHECKING:
    import pyarrow as pa

_GROUP = re.compile(r"\(\?P<([A-Za-z]\w*)>")


class RegexParser(Parser):
    """Extracts the named groups of the first match of a regular expression, each into the column of its name.

    A group that did not participate in the match is an empty text.
    """

    kind: Literal["regex"] = "regex"
    """Name of this parser."""
    pattern: str
    """RE2 pattern with named groups, `(?P<column>...)`. Matching takes time linear in the text. RE2 has no
    back-references and no look-around. With `(?s)` a dot also matches line ends."""

    @field_validator("pattern")
    @classmethod
    def _is_re2(cls, value: str) -> str:
        import pyarrow as pa
        import pyarrow.compute as pc

        if not _GROUP.search(value):
            raise ValueError("has no named group: write (?P<column>…) around what is wanted")
        try:
            # Not by `pa.scalar` or `pa.array`, which import pandas first.
            pc.extract_regex(pa.nulls(0, pa.string()), value)
        except pa.ArrowException as error:
            raise ValueError(
                f"not a pattern for RE2 with named groups only ((?:…) for others): {error}"
            ) from error
        return value

    def read(self, text: str) -> Parsed:
        import pyarrow as pa
        import pyarrow.compute as pc

        found = pc.extract_regex(pa.scalar(text), self.pattern).as_py()
        return Unparsed("the pattern does not match") if found is None else [dict(found)]

    def types(self) -> Mapping[str, pa.DataType]:
        return texts(*_GROUP.findall(self.pattern))
