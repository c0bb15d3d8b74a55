"""Errors that show without running a program: code that does not compile, and undefined names."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..parsers.python_source import parse_python

if TYPE_CHECKING:
    from pyflakes.messages import Message

#: Messages of pyflakes that indicate an error. The others concern style or possible intent.
WRONG = frozenset({"UndefinedExport", "UndefinedLocal", "UndefinedName"})
_HEADER = re.compile(r"expected an indented block after .* on line (\d+)")
_NO_HANDLER = "expected 'except' or 'finally' block"


def error_lines(program: str, given: Iterable[str] = ()) -> list[int]:
    """Return the lines (from 1, ascending) that must change for the program to be free of errors.

    A syntax error is one line: the line that Python reports, the header whose body or ``except`` is missing,
    or the decorator without a definition. Code that is too deeply nested to be parsed is an error in line 1.
    ``given``: names that the surroundings of the program define.
    """
    lines = program.split("\n")
    try:
        tree = parse_python(program)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(tree, "<program>", "exec", dont_inherit=True)
    except SyntaxError as error:
        return [_to_blame(error, lines)]
    except (ValueError, RecursionError, MemoryError):
        return [1]
    try:
        return sorted({message.lineno for message in _undefined(tree, given)})
    except RecursionError:
        return [1]


def outside_names(program: str) -> frozenset[str]:
    """Return the names that a program uses and does not define. Raises SyntaxError if it does not parse."""
    return frozenset(
        message.message_args[0]
        for message in _undefined(parse_python(program), ())
        if type(message).__name__ == "UndefinedName"
    )


def _undefined(tree: ast.Module, given: Iterable[str]) -> list[Message]:
    from pyflakes.checker import Checker

    found = Checker(tree, builtins=set(given), withDoctest=False).messages
    return [message for message in found if type(message).__name__ in WRONG]


def _to_blame(error: SyntaxError, lines: list[str]) -> int:
    line = min(max(1, error.lineno or 1), len(lines))
    header = _HEADER.search(error.msg or "")
    if header:
        return int(header.group(1))
    above = range(line - 1, 0, -1)
    if error.msg == _NO_HANDLER:
        return next((number for number in above if lines[number - 1].lstrip().startswith("try")), line)
    before = next((number for number in above if lines[number - 1].strip()), line)
    return before if lines[before - 1].lstrip().startswith("@") else line
