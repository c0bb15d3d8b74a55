"""Decides which examples of a docstring are tests: those whose result depends on the program."""

from __future__ import annotations

import ast
import doctest
from collections.abc import Iterable, Sequence

from .certain import yes_or_no
from .reaching import Reach


def telling(examples: Sequence[doctest.Example], program: Iterable[str]) -> list[bool]:
    """Whether each example of one docstring tests the program. ``program``: the names of the program.

    These are not tests: a skipped example; one without an expectation (an import, ``x = f(1)``); one on
    constants; one that does not use the program, unless an earlier example of the docstring used it. An
    expression without a result must be None, so it is a test. An ``assert`` is a test too.
    """
    bodies = [_statements(example.source) for example in examples]
    source = "".join(example.source for example in examples)
    reach = Reach(source, [statement for body in bodies for statement in body], program)
    told, used = [], False
    for example, body in zip(examples, bodies, strict=True):
        skipped = example.options.get(doctest.SKIP, False)
        used = used or (not skipped and reach.reaches(body))
        expects = bool(example.want.strip()) or any(map(_expects, body))
        told.append(
            used and expects and not skipped and (not body or _tells(reach, body, example.want.strip()))
        )
    return told


def _tells(reach: Reach, body: Sequence[ast.stmt], want: str) -> bool:
    if len(body) == 1 and isinstance(body[0], ast.Assert):
        return reach.tells([body[0].test], truth=True)
    if len(body) == 1 and isinstance(body[0], ast.Expr) and want in ("True", "False"):
        asked = body[0].value
        if yes_or_no(asked):
            return reach.tells([asked], truth=want == "True")
    return reach.tells(body, truth=None)


def _expects(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) or any(
        isinstance(node, ast.Assert) for node in ast.walk(statement)
    )


def _statements(source: str) -> list[ast.stmt]:
    """The statements of an example; empty if it does not parse."""
    try:
        return ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError):
        return []
