"""Finds the names in Python source: those that are mentioned, bound, or defined by the program."""

from __future__ import annotations

import ast
import types
from collections.abc import Iterator
from typing import Any

#: Modules that stand for the program.
PROGRAM = frozenset(("program", "solution", "__main__"))
#: The name of the function that records that an assertion ran. It is not a valid identifier in source text.
RAN = "@assertion"
#: A name for the real AssertionError, even if the tests redefine that name.
FAILURE = "@failure"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_FIXED = (int, float, complex, str, bytes, bool, type(None), type(...))


def programs(name: str, value: Any) -> bool:
    """Whether the program itself defines a name of its namespace, rather than importing a module."""
    return not (name.startswith("__") and name.endswith("__")) and not isinstance(
        value, (types.ModuleType, types.BuiltinFunctionType)
    )


def walk(node: ast.AST) -> list[ast.AST]:
    """A node and all that is in it, as ``ast.walk`` goes, which takes three times as long."""
    found = [node]
    for each in found:
        for name in each._fields:
            value = getattr(each, name, None)
            if isinstance(value, list):
                found += [item for item in value if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST):
                found.append(value)
    return found


def mentioned(node: ast.AST) -> set[str]:
    """All names in a node, including parameters."""
    found = set()
    for each in walk(node):
        if isinstance(each, ast.Name) and each.id not in (RAN, FAILURE):
            found.add(each.id)
        elif isinstance(each, ast.arg):
            found.add(each.arg)
        elif isinstance(each, ast.Constant) and isinstance(each.value, str) and len(each.value) < 80:
            found.update(
                part for part in PROGRAM if each.value.startswith(f"{part}.")
            )  # mock.patch("program.f")
    return found


def parts(statement: ast.stmt) -> Iterator[ast.AST]:
    """The parts of a statement that are not statements themselves. For a ``with``, also its whole block."""
    if isinstance(statement, (ast.With, ast.AsyncWith)):
        yield statement
        return
    for child in ast.iter_child_nodes(statement):
        if not isinstance(child, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            yield child


def names_of(target: ast.AST | None) -> Iterator[str]:
    if target is not None:
        yield from (each.id for each in walk(target) if isinstance(each, ast.Name))


def imported_names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)


def otherwise_bound(node: ast.AST) -> Iterator[str]:
    """Names that definitions, parameters, imports, handlers and patterns bind."""
    if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
        yield node.name
    elif isinstance(node, (ast.Global, ast.Nonlocal)):
        yield from node.names
    else:
        yield from imported_names(node)


def unchanging(node: ast.AST) -> bool:
    """Whether a value is immutable: numbers, strings, tuples of these, and results of pure calls on them."""
    if isinstance(node, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)):
        return False
    if isinstance(node, ast.Constant):
        return isinstance(node.value, _FIXED)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id not in ("list", "dict", "set", "bytearray")
    return all(unchanging(each) for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr))
