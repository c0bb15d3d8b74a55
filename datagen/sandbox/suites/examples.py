"""Which examples of a docstring are tests: those whose result is written down, and depends on the program."""

from __future__ import annotations

import ast
import doctest
from collections.abc import Iterable, Sequence

from .reaching import Reach


def telling(examples: Sequence[doctest.Example], program: Iterable[str]) -> list[bool]:
    """For each example of one docstring, whether it tells anything of the program, whose names are ``program``.

    One that is skipped does not, nor does one without a result (an import, ``x = f(1)``), nor one on constants, nor one
    that has nothing to do with the program, unless an earlier one of the docstring used it.
    """
    bodies = [_statements(example.source) for example in examples]
    source = "".join(example.source for example in examples)
    reach = Reach(source, [statement for body in bodies for statement in body], program)
    told, used = [], False
    for example, body in zip(examples, bodies, strict=True):
        skipped = example.options.get(doctest.SKIP, False)
        used = used or (not skipped and reach.reaches(body))
        answers = bool(example.want.strip()) or example.exc_msg is not None
        told.append(used and answers and not skipped and (not body or reach.tells(body, truth=False)))
    return told


def _statements(source: str) -> list[ast.stmt]:
    """None for an example of what does not parse."""
    try:
        return ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError):
        return []
