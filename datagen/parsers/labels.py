"""Texts behind labels: ``Problem: ...``, ``**Answer:** ...``, ``### Answer``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from .parser import Parsed, Parser, Unparsed, texts

if TYPE_CHECKING:
    import pyarrow as pa

Label = Annotated[str, Field(pattern=r"^[A-Za-z][\w -]{0,40}$")]
#: Marks that models put around a label, and between it and its text.
_MARKS = r"[ \t*#>_-]{0,12}"
_QUOTES = {'"': '"', "“": "”"}


class LabelsParser(Parser):
    """Extracts the text after each label, up to the next label.

    Labels look like ``Problem: ...``, ``**Answer:** ...`` or ``### Answer``. A label begins a line, with or
    without Markdown marks; case is ignored. Each must occur exactly once, in any order. Double quotes around
    a whole text are removed.
    """

    kind: Literal["labels"] = "labels"
    """Name of this parser."""
    labels: tuple[Label, ...] = Field(min_length=1)
    """Labels to find. Each is also the name of its column."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Different column names, as `{LABEL: COLUMN}`."""

    def read(self, text: str) -> Parsed:
        names = {label.lower(): label for label in self.labels}
        either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        found: dict[str, list[str]] = {}
        lines: list[str] = []
        begins = re.compile(rf"{_MARKS}({either}){_MARKS}(?::{_MARKS}(.*)|())", re.IGNORECASE | re.DOTALL)
        for line in text.split("\n"):
            match = begins.fullmatch(line.rstrip())
            if match is None:
                lines.append(line)
                continue
            label = names[match[1].lower()]
            if label in found:
                return Unparsed(f"{label}: comes again")
            lines = found[label] = [match[2] or ""]
        told = {label: _unquoted("\n".join(behind).strip()) for label, behind in found.items()}
        for label in self.labels:
            if not told.get(label):
                return Unparsed(f"no {label}:" if label not in told else f"{label}: is empty")
        return [{self.columns.get(label, label): told[label] for label in self.labels}]

    def types(self) -> Mapping[str, pa.DataType]:
        return texts(*(self.columns.get(label, label) for label in self.labels))


def _unquoted(text: str) -> str:
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        return text[1:-1].strip()
    return text
