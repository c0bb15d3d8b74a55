"""A program's text and syntax tree, with the position of every node in the text."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cached_property

from ..parsers.python_source import parse_python

#: Lines as Python counts them: form feeds and Unicode separators do not end a line.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


@dataclass(frozen=True, slots=True)
class Replacement:
    """Replaces the characters ``start .. stop`` by ``text``."""

    start: int
    stop: int
    text: str


class SourceText:
    """A parsed program. Raises SyntaxError if the text does not parse."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = parse_python(text)

    @cached_property
    def _lines(self) -> list[tuple[int, bytes]]:
        """Return (characters before, UTF-8 of the line) per line: the tree counts columns in bytes."""
        found, before = [], 0
        for line in _LINE.findall(self.text):
            found.append((before, line.encode()))
            before += len(line)
        return [*found, (before, b"")]

    def offset(self, line: int, column: int) -> int:
        """Return the character offset of a line (from 1) and column (in bytes)."""
        before, encoded = self._lines[line - 1]
        return before + len(encoded[:column].decode())

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.offset(node.lineno, node.col_offset), self.offset(node.end_lineno, node.end_col_offset)

    def code(self, node: ast.expr | ast.stmt) -> str:
        """Return the source text of the node."""
        start, stop = self.span(node)
        return self.text[start:stop]

    def replace(self, node: ast.expr | ast.stmt, text: str) -> Replacement:
        return Replacement(*self.span(node), text)

    def between(self, left: ast.expr, right: ast.expr) -> tuple[int, int]:
        """Return the span from the end of one node to the start of another."""
        return self.span(left)[1], self.span(right)[0]

    def replace_word(self, left: ast.expr, right: ast.expr, old: str, new: str) -> Replacement | None:
        """Replace the operator between two operands. Returns None if there is a comment between them."""
        start, stop = self.between(left, right)
        gap = self.text[start:stop]
        place = gap.find(old)
        if place < 0 or "#" in gap:
            return None
        return Replacement(start + place, start + place + len(old), new)

    def applied(self, change: Replacement) -> str:
        return self.text[: change.start] + change.text + self.text[change.stop :]
