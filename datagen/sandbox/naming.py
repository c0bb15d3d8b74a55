"""Which of the program's names tests use, by their text."""

from __future__ import annotations

import ast
import builtins
import doctest
import re
from collections.abc import Collection, Iterator

_WORD = re.compile(r"[^\W\d]\w*")
_BUILTIN = frozenset(dir(builtins))
#: Modules by which tests import the program.
MODULES = ("program", "solution")


def words(text: str) -> set[str]:
    """Everything that could be a name in a text, its strings and comments included."""
    return set(_WORD.findall(text))


def free(tests: str) -> set[str]:
    """The names that the tests read and never bind, so that they can only be the program's (or built in).

    Examples in strings, as ``doctest`` has them, count. Nothing where the tests do not parse.
    """
    try:
        tree = ast.parse(tests)
    except (SyntaxError, ValueError, RecursionError):
        return set()
    read, bound = _names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and ">>> " in node.value:
            for example in _examples(node.value):
                read |= free(example)
    return read - bound


def bound(tests: str) -> set[str]:
    """The names that the tests bind themselves. Nothing where they do not parse."""
    try:
        return _names(ast.parse(tests))[1]
    except (SyntaxError, ValueError, RecursionError):
        return set()


def _examples(text: str) -> Iterator[str]:
    try:
        found = doctest.DocTestParser().get_examples(text)
    except ValueError:
        return
    yield "".join(example.source for example in found)


def _names(tree: ast.AST) -> tuple[set[str], set[str]]:
    read, bound = set[str](), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)) and not _of_the_program(node):
            bound |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
    return read, bound


def _of_the_program(node: ast.Import | ast.ImportFrom) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module in MODULES


def visible(names: Collection[str], tests: str, own: str = "") -> set[str]:
    """Of the program's names, those that its tests see.

    A name of the program that hides a builtin is not one of them, unless it is what is tested: the tests use no other
    name of the program, or it is ``own``.
    """
    seen = {name for name in words(tests) & set(names) if not _of_python(name)}
    if seen.isdisjoint(_BUILTIN) or not (free(tests) & set(names)) - _BUILTIN:
        return seen
    return seen - (_BUILTIN - {own})


def _of_python(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def offered(names: Collection[str]) -> set[str]:
    """What ``from program import *`` gives: public names that hide no builtin."""
    return {name for name in names if not name.startswith("_") and name not in _BUILTIN}
