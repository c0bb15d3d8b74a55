"""Errors of a program that show without running it: what does not compile, and names that nothing defines."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..python_source import parse_python

if TYPE_CHECKING:
    from pyflakes.messages import Message

#: pyflakes' messages that tell of a program that is wrong. The others tell of style, or of what may be meant.
WRONG = frozenset({"UndefinedExport", "UndefinedLocal", "UndefinedName"})
_HEADER = re.compile(r"expected an indented block after .* on line (\d+)")
_NO_HANDLER = "expected 'except' or 'finally' block"


def error_lines(program: str, given: Iterable[str] = ()) -> list[int]:
    """The lines (from 1, rising) that have to go or change for the program to be free of errors; empty: it is.

    A syntax error is one line: the one that Python tells of, or the header whose body or ``except`` is missing,
    or the decorator that stands alone. What is too deeply nested to be parsed is an error of line 1. ``given``: names
    that something around the program defines.
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
    """The names that a program uses and does not define. Raises SyntaxError where it does not parse."""
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
