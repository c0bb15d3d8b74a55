"""Fenced code blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from .parser import Parsed, Parser, Unparsed, texts

if TYPE_CHECKING:
    import pyarrow as pa

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([^\s`]{0,40})[^`\n]*")


class CodeParser(Parser):
    """Takes one fenced code block of an answer.

    A fence that is never closed fails: the code was cut off.
    """

    kind: Literal["code"] = "code"
    """Name of this parser."""
    column: str = "code"
    """Column for the code."""
    language: str | None = None
    """Take only blocks marked with this language. By default all."""
    which: Literal["first", "last", "only"] = "first"
    """Which block to take of several: the `first`, the `last`, or fail unless there is `only` one."""

    def read(self, text: str) -> Parsed:
        found = list(blocks(text))
        if found and found[-1][1] is None:
            return Unparsed("a code fence is not closed")
        wanted = [code for mark, code in found if self.language is None or mark == self.language.lower()]
        if not wanted:
            kind = f"{self.language} " if self.language else ""
            return Unparsed(f"no {kind}code block among {len(found)}" if found else "no code block")
        if self.which == "only" and len(wanted) > 1:
            return Unparsed(f"{len(wanted)} code blocks where one was asked for")
        code = wanted[-1 if self.which == "last" else 0] or ""
        return [{self.column: code}] if code.strip() else Unparsed("the code block is empty")

    def types(self) -> Mapping[str, pa.DataType]:
        return texts(self.column)


def blocks(text: str) -> Iterator[tuple[str, str | None]]:
    """(language, code) of each fenced block as CommonMark has it; code None where it is never closed."""
    mark, language, lines = "", "", list[str]()
    for line in text.split("\n"):
        fence = _FENCE.fullmatch(line.rstrip("\r"))
        if not mark:
            if fence:
                mark, language, lines = fence.group(1), fence.group(2).lower(), []
        elif (
            fence and not fence.group(2) and fence.group(1)[0] == mark[0] and len(fence.group(1)) >= len(mark)
        ):
            yield language, "\n".join(lines)
            mark = ""
        else:
            lines.append(line)
    if mark:
        yield language, None
