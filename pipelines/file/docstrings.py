"""Parses the docstring of an operator: a summary, details, and sections of named entries.

Keeps the best rows of each group.          the summary: the first paragraph

Ties go to the earlier row.                 details: further paragraphs

Adds:                                       sections: Reads, Adds, Filters, Metrics
    rank (int32): place of the row.

Example:                                    lines of a pipeline file
    best: {select: best, by: score, from: rows}
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

#: Section -> its title on a reference page.
SECTIONS = {
    "Reads": "Columns that it reads",
    "Adds": "Columns that it adds",
    "Filters": "Rows that it filters, by rule",
    "Metrics": "Metrics",
}
_EXAMPLE = "Example"
_INDENT = " " * 4


@dataclass(frozen=True, slots=True)
class Docstring:
    """A parsed docstring.

    ``sections``: title -> (entry, description), in order. ``example``: YAML, or empty.
    """

    summary: str = ""
    details: tuple[str, ...] = ()
    sections: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    example: str = ""


def read(text: str | None) -> Docstring:
    """The parts of a docstring."""
    paragraphs: list[str] = []
    sections: dict[str, tuple[tuple[str, str], ...]] = {}
    example = ""
    for block in re.split(r"\n\s*\n", inspect.cleandoc(text or "")):
        head, _, body = block.partition("\n")
        title = head.removesuffix(":")
        if head == f"{_EXAMPLE}:":
            example = "\n".join(line.removeprefix(_INDENT) for line in body.split("\n"))
        elif head == f"{title}:" and title in SECTIONS:
            sections[SECTIONS[title]] = tuple(_entries(body))
        elif block:
            paragraphs.append(plain(block))
    summary, *details = paragraphs or [""]
    return Docstring(summary, tuple(details), sections, example)


def read_class(kind: type) -> Docstring:
    """The docstring of a class. Sections that it lacks are those of its nearest base that has them."""
    own = read(kind.__doc__)
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for base in reversed(kind.__mro__):
        found |= read(vars(base).get("__doc__")).sections
    return replace(own, sections={title: found[title] for title in SECTIONS.values() if title in found})


def _entries(body: str) -> list[tuple[str, str]]:
    """(name, text) of each entry; a line that is indented further continues the entry before it."""
    found: list[list[str]] = []
    for line in body.split("\n"):
        text = line.removeprefix(_INDENT)
        if text.startswith(" ") and found:
            found[-1].append(text.strip())
        else:
            found.append([text])
    parts = (plain(" ".join(lines)).partition(": ") for lines in found)
    return [(name, told) for name, _, told in parts]


def plain(text: str) -> str:
    """One line, with code in single backticks, as in Markdown."""
    return " ".join(text.split()).replace("``", "`")
