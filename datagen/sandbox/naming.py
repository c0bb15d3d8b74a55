"""Finds the names of the program that tests use, from the text of the tests."""

from __future__ import annotations

import ast
import builtins
import doctest
import importlib
import re
import symtable
import types
from collections.abc import Collection, Iterator

_WORD = re.compile(r"[^\W\d]\w*")
_BUILTIN = frozenset(dir(builtins))
#: Modules by which tests import the program.
MODULES = ("program", "solution")
#: Modules whose import has side effects.
_LOUD = frozenset(("antigravity", "this", "idlelib", "turtledemo", "__main__"))


def words(text: str) -> set[str]:
    """All words in a text that could be names, including those in strings and comments."""
    return set(_WORD.findall(text))


def free(tests: str) -> set[str]:
    """The names that the tests read but do not bind. They can only be the program's, or builtins.

    Doctest examples in strings count. Empty if the tests do not parse.
    """
    read, bound = _names(tests)
    if ">>> " in tests and (tree := _parsed(tests)) is not None:
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and ">>> " in node.value:
                for example in _examples(node.value):
                    read |= free(example)
    return read - bound


def bound(tests: str) -> set[str]:
    """The names that the tests bind in their module, without local variables of functions.

    Empty if the tests do not parse.
    """
    return _names(tests)[1]


def _examples(text: str) -> Iterator[str]:
    try:
        found = doctest.DocTestParser().get_examples(text)
    except ValueError:
        return
    yield "".join(example.source for example in found)


def _parsed(tests: str) -> ast.Module | None:
    try:
        return ast.parse(tests)
    except (SyntaxError, ValueError, RecursionError):
        return None


def _names(tests: str) -> tuple[set[str], set[str]]:
    """The names that any scope reads from the module, and the names that the module binds."""
    read, bound = set[str](), set[str]()
    try:
        ahead = [symtable.symtable(tests, "<tests>", "exec")]
    except (SyntaxError, ValueError, RecursionError):
        return read, bound
    while ahead:
        scope = ahead.pop()
        ahead += scope.get_children()
        module = scope.get_type() == "module"
        for symbol in scope.get_symbols():
            if not (module or symbol.is_global()):
                continue
            if symbol.is_referenced():
                read.add(symbol.get_name())
            if symbol.is_assigned() or symbol.is_imported():
                bound.add(symbol.get_name())
    return read, bound - _of_the_program(tests)


def _of_the_program(tests: str) -> set[str]:
    """The names that the tests import from the program. They count as names of the program."""
    if words(tests).isdisjoint(MODULES) or (tree := _parsed(tests)) is None:
        return set()
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in MODULES
        for alias in node.names
    }


def visible(names: Collection[str], tests: str, own: str = "") -> set[str]:
    """The program's names that its tests see.

    A name that hides a builtin is left out, unless it is what is tested: the tests use no other name of the
    program, or it is ``own``.
    """
    seen = {name for name in words(tests) & set(names) if not _of_python(name)}
    if seen.isdisjoint(_BUILTIN) or not (free(tests) & set(names)) - _BUILTIN:
        return seen
    return seen - (_BUILTIN - {own})


def used_as_modules(
    names: Collection[str], others: Collection[str], tests: str
) -> dict[str, types.ModuleType]:
    """The names of standard modules that refer to the module in the tests, with their modules.

    The tests use such a name only to read attributes, and the module has all of them. ``others``: the
    program's names. If the tests use none of the others, the name is what is tested, and refers to the
    program.
    """
    if not names or (tree := _parsed(tests)) is None:
        return {}
    read = free(tests) & set(others)
    found = {}
    for name in set(names) - _of_the_program(tests) - _LOUD:
        uses = sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(tree))
        attributes = [
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
        ]
        if read - {name} and attributes and len(attributes) == uses:
            module = _standard(name)
            if module is not None and all(hasattr(module, each) for each in attributes):
                found[name] = module
    return found


def _standard(name: str) -> types.ModuleType | None:
    try:
        return importlib.import_module(name)
    except Exception:  # a module of another operating system
        return None


def _of_python(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def offered(names: Collection[str]) -> set[str]:
    """The names that ``from program import *`` imports: public ones that hide no builtin."""
    return {name for name in names if not name.startswith("_") and name not in _BUILTIN}
