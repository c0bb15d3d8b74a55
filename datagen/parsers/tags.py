"""Texts between XML-like tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from .parser import Parsed, Parser, Unparsed, texts

if TYPE_CHECKING:
    import pyarrow as pa

Tag = Annotated[str, Field(pattern=r"^[A-Za-z][\w-]{0,40}$")]


class TagsParser(Parser):
    """Extracts the text between ``<tag>`` and ``</tag>`` for each tag.

    Each tag must occur exactly once, unless ``many`` allows more. A text that injects a second pair of tags
    thus fails. ``< Tag >`` is ``<tag>``, too, and the end of an answer that was not cut closes the last tag.
    """

    version: ClassVar[int] = 2

    kind: Literal["tags"] = "tags"
    """Name of this parser."""
    tags: tuple[Tag, ...] = Field(min_length=1)
    """Tags to find. Each is also the name of its column."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Different column names, as `{TAG: COLUMN}`."""
    many: bool = False
    """Allow the tags to repeat, and make one row per repetition."""

    def read(self, text: str) -> Parsed:
        contents: dict[str, list[str]] = {}
        for tag in self.tags:
            found = _between(text, tag)
            if isinstance(found, str):
                return Unparsed(found)
            if not found:
                return Unparsed(f"no <{tag}>")
            if len(found) > 1 and not self.many:
                return Unparsed(f"<{tag}> occurs {len(found)} times")
            if "" in found:
                return Unparsed(f"<{tag}> is empty")
            contents[self.columns.get(tag, tag)] = found
        counts = {len(found) for found in contents.values()}
        if len(counts) > 1:
            told = ", ".join(f"<{tag}> {len(found)}" for tag, found in contents.items())
            return Unparsed(f"the tags do not occur equally often: {told} times")
        return [dict(zip(contents, values, strict=True)) for values in zip(*contents.values(), strict=True)]

    def closed(self, text: str) -> str:
        last = self.tags[-1]
        ended = f"{text}</{last}>"
        return text if isinstance(_between(ended, last), str) else ended

    def readable(self) -> str:
        # A text that is not blank and closes no tag; it may hold `<` as code does.
        held = r"\s?[^<\s](?:[^<]|<+[^/<])*"
        pairs = r"\s?".join(f"<{tag}>{held}</{tag}>" for tag in self.tags)
        return rf"(?:{pairs}\s?)+" if self.many else pairs

    def types(self) -> Mapping[str, pa.DataType]:
        return texts(*(self.columns.get(tag, tag) for tag in self.tags))


def _between(text: str, tag: str) -> list[str] | str:
    """Return the stripped texts between the pairs of a tag, in order, or what is wrong with the pairs."""
    found: list[str] = []
    start: int | None = None
    # Small models write `< tag>` and `<Tag>`, too.
    for mark in re.finditer(rf"<(/?)[ \t]?{tag}[ \t]?>", text, re.IGNORECASE):
        closes = mark[1] == "/"
        if closes and start is None:
            return f"</{tag}> without <{tag}>"
        if not closes and start is not None:
            return f"<{tag}> inside <{tag}>"
        if closes:
            found.append(text[start : mark.start()].strip())
        start = None if closes else mark.end()
    return found if start is None else f"<{tag}> is not closed"
