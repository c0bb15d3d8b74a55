"""A program and its tests, regardless of how an answer divides them among code blocks."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from .code import blocks
from .parser import Parsed, Parser, Unparsed, texts
from .python_source import parse_python

if TYPE_CHECKING:
    import pyarrow as pa

#: Maximum number of characters to parse, far above any regular answer.
_LONGEST = 50_000


class TestedCodeParser(Parser):
    """Splits the Python of all code blocks: its tests into one column, the rest into another.

    A test is a top-level ``assert``, a function ``test*`` or a class ``Test*``. Top-level calls and ``if
    __name__`` are removed. An answer fails if a fence is not closed, if the code does not parse, or if one of
    the two columns would be empty.
    """

    __test__ = False  # not for pytest to collect

    kind: Literal["tested_code"] = "tested_code"
    """Name of this parser."""
    solution: str = "solution"
    """Column for the program."""
    tests: str = "tests"
    """Column for the tests."""

    def read(self, text: str) -> Parsed:
        found = list(blocks(text))
        if found and found[-1][1] is None:
            return Unparsed("a code fence is not closed")
        code = "\n\n".join(block or "" for _, block in found)
        if not code.strip():
            return Unparsed("no code block" if not found else "the code block is empty")
        if len(code) > _LONGEST:
            return Unparsed(f"{len(code):,} characters of code")
        try:
            body = parse_python(code).body
        except SyntaxError as error:
            return Unparsed(f"the code does not parse: {str(error)[:100]}")
        parts = _divided(code, body)
        if parts is None:
            return Unparsed("two statements in one line")
        row = {self.solution: parts[0], self.tests: parts[1]}
        empty = next((name for name, part in row.items() if not part.strip()), None)
        return [row] if empty is None else Unparsed(f"no {empty} in the code")

    def types(self) -> Mapping[str, pa.DataType]:
        return texts(self.solution, self.tests)


def _divided(code: str, body: list[ast.stmt]) -> tuple[str, str] | None:
    """Return (solution, tests), each statement with the comments before it.

    Returns None if two statements share a line."""
    lines, end = code.split("\n"), 0
    parts: tuple[list[str], list[str]] = ([], [])
    for statement in body:
        start = min([statement.lineno, *(each.lineno for each in getattr(statement, "decorator_list", ()))])
        last = statement.end_lineno or start
        if start <= end:
            return None
        if not _shows(statement):
            parts[_tests(statement)].extend(lines[end:last])
        end = last
    solution, tests = ("\n".join(part).strip("\n") for part in parts)
    return solution, tests


def _tests(statement: ast.stmt) -> bool:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return statement.name.startswith("test")
    if isinstance(statement, ast.ClassDef):
        return statement.name.startswith("Test")
    return isinstance(statement, ast.Assert)


def _shows(statement: ast.stmt) -> bool:
    """Whether it is a call, or the main block of a script."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Call)
    return isinstance(statement, ast.If) and "__name__" in ast.dump(statement.test)
