"""Text that should be a Python program, parsed."""

from __future__ import annotations

import ast
import warnings


def parse_python(text: str | bytes) -> ast.Module:
    """The tree of a program, without what Python warns of in it (invalid escapes, say).

    Raises SyntaxError, and nothing else, where there is none: also for a null character, and for what is too deeply
    nested or too large for the parser.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            try:
                return ast.parse(text)
            except SystemError:
                # Up to Python 3.12, ``ast.parse`` counts its depth in one place for the whole process, which is wrong
                # where a garbage collection in the middle of it runs another (to print a traceback's line, say).
                return ast.parse(text)
        except (ValueError, RecursionError, MemoryError, SystemError) as error:
            raise SyntaxError(f"{type(error).__name__}: {error}") from error
