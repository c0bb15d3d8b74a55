"""What a document is read into: its text, and where its headings and pages begin."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_MARKS = re.compile(r"[*`]|(?<!\w)_|_(?!\w)|!?\[([^\]]*)\]\([^)]*\)")


class Unreadable(Exception):
    """Why a file gives no document: what is wrong with it, and what to do."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading. ``start``: the first character of its line. ``level``: 1 is the highest."""

    start: int
    level: int
    title: str


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """A document's text. ``pages``: the first character of each page; empty if it has none."""

    text: str
    title: str | None = None
    headings: Sequence[Heading] = field(default=())
    pages: Sequence[int] = field(default=())


def structure_types() -> dict[str, pa.DataType]:
    """The Arrow types of the columns ``headings`` and ``pages``."""
    import pyarrow as pa

    number = pa.int32()
    heading = pa.struct([("start", number), ("level", number), ("title", pa.string())])
    return {"headings": pa.list_(heading), "pages": pa.list_(number)}


def markdown_headings(text: str) -> list[Heading]:
    """The headings (``# Title``) of a text in Markdown, without those in code blocks."""
    found: list[Heading] = []
    place, fence = 0, ""
    for line in text.splitlines(keepends=True):
        if (mark := _FENCE.match(line)) is not None and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif not fence and (heading := _HEADING.match(line.rstrip("\r\n"))) is not None:
            title = " ".join(_MARKS.sub(r"\1", heading[2]).split())
            if title:
                found.append(Heading(place, len(heading[1]), title))
        place += len(line)
    return found


def heading_path(headings: Sequence[Mapping[str, Any]], start: int) -> list[str]:
    """The titles that a place lies under, the highest first. ``headings``: in order, as rows."""
    path: list[tuple[int, str]] = []
    for heading in headings:
        if heading["start"] > start:
            break
        path = [each for each in path if each[0] < heading["level"]]
        path.append((heading["level"], heading["title"]))
    return [title for _, title in path]


def page_at(pages: Sequence[int], place: int) -> int | None:
    """The number of the page, from 1, on which a character lies; None without pages."""
    return max(1, bisect_right(pages, place)) if pages else None


def first_title(headings: Iterable[Heading]) -> str | None:
    """The title of the first heading of the highest level."""
    highest = min(headings, key=lambda heading: heading.level, default=None)
    return highest.title if highest is not None else None
