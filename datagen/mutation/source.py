"""A program's text and its tree, with the place of every node in the text."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cached_property

from ..python_source import parse_python

#: Lines as Python counts them: a form feed or a Unicode separator ends none.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


@dataclass(frozen=True, slots=True)
class Replacement:
    """Put ``text`` in place of the characters ``start .. stop``."""

    start: int
    stop: int
    text: str


class Source:
    """Raises SyntaxError where the text does not parse."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = parse_python(text)

    @cached_property
    def _lines(self) -> list[tuple[int, bytes]]:
        """(characters before, UTF-8 of the line) of each line: the tree counts columns in bytes."""
        found, before = [], 0
        for line in _LINE.findall(self.text):
            found.append((before, line.encode()))
            before += len(line)
        return [*found, (before, b"")]

    def offset(self, line: int, column: int) -> int:
        """The character at a node's line (from 1) and column (in bytes)."""
        before, encoded = self._lines[line - 1]
        return before + len(encoded[:column].decode())

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.offset(node.lineno, node.col_offset), self.offset(node.end_lineno, node.end_col_offset)

    def code(self, node: ast.expr | ast.stmt) -> str:
        """The node as it is written."""
        start, stop = self.span(node)
        return self.text[start:stop]

    def replace(self, node: ast.expr | ast.stmt, text: str) -> Replacement:
        return Replacement(*self.span(node), text)

    def between(self, left: ast.expr, right: ast.expr) -> tuple[int, int]:
        """The span from the end of one node to the start of another."""
        return self.span(left)[1], self.span(right)[0]

    def replace_word(self, left: ast.expr, right: ast.expr, old: str, new: str) -> Replacement | None:
        """Replace an operator that stands between two operands. None where a comment is in between."""
        start, stop = self.between(left, right)
        gap = self.text[start:stop]
        place = gap.find(old)
        if place < 0 or "#" in gap:
            return None
        return Replacement(start + place, start + place + len(old), new)

    def applied(self, change: Replacement) -> str:
        return self.text[: change.start] + change.text + self.text[change.stop :]
