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
    """Extracts one fenced code block of an answer.

    An unclosed fence is an error: the code was truncated.
    """

    kind: Literal["code"] = "code"
    """Name of this parser."""
    column: str = "code"
    """Column for the code."""
    language: str | None = None
    """Use only blocks marked with this language. By default all are used."""
    which: Literal["first", "last", "only"] = "first"
    """Which of several blocks to use: the `first` or the `last`. `only` fails unless there is exactly one."""

    def read(self, text: str) -> Parsed:
        found = list(blocks(text))
        if found and found[-1][1] is None:
            return Unparsed("a code fence is not closed")
        wanted = [code for mark, code in found if self.language is None or mark == self.language.lower()]
        if not wanted:
            kind = f"{self.language} " if self.language else ""
            return Unparsed(f"no {kind}code block among {len(found)}" if found else "no code block")
        if self.which == "only" and len(wanted) > 1:
            return Unparsed(f"{len(wanted)} code blocks, expected one")
        code = wanted[-1 if self.which == "last" else 0] or ""
        return [{self.column: code}] if code.strip() else Unparsed("the code block is empty")

    def types(self) -> Mapping[str, pa.DataType]:
        return texts(self.column)


def blocks(text: str) -> Iterator[tuple[str, str | None]]:
    """Yield (language, code) of each fenced block as in CommonMark; the code is None if it is not closed."""
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
