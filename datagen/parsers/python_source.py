"""Parsing of text as a Python program."""

from __future__ import annotations

import ast
import warnings


def parse_python(text: str | bytes) -> ast.Module:
    """Parse a program, suppressing the warnings of Python (about invalid escapes, for example).

    Raises only SyntaxError, also for null characters and for text that is too large or too deeply nested for
    the parser.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            try:
                return ast.parse(text)
            except SystemError:
                # Up to Python 3.12, ``ast.parse`` counts its depth once per process. The count is wrong if a
                # garbage collection during a call triggers another (to print a line of a traceback, for
                # example).
                return ast.parse(text)
        except (ValueError, RecursionError, MemoryError, SystemError) as error:
            raise SyntaxError(f"{type(error).__name__}: {error}") from error
