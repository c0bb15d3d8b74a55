"""Which examples of a docstring are tests: those that expect something, which depends on the program."""

from __future__ import annotations

import ast
import doctest
from collections.abc import Iterable, Sequence

from .certain import yes_or_no
from .reaching import Reach


def telling(examples: Sequence[doctest.Example], program: Iterable[str]) -> list[bool]:
    """For each example of one docstring, whether it tells anything of the program, whose names are
    ``program``.

    One that is skipped does not, nor does one that expects nothing (an import, ``x = f(1)``), nor one on
    constants, nor one that has nothing to do with the program, unless an earlier one of the docstring used
    it. An expression without a result must be None, and is a test; so is an ``assert``.
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
    """None for an example of what does not parse."""
    try:
        return ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError):
        return []
