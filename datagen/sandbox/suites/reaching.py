"""Which assertions can tell anything of the program: not those on constants, nor tests that never come near it.

Read from the text of the tests, and only where that is needed. In doubt an assertion counts: mutants of the program
(``verify: tests``) show what this does not.
"""

from __future__ import annotations

import ast
import builtins
import types
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

#: Modules whose names are the program's.
PROGRAM = frozenset(("program", "solution", "__main__"))
#: Calls that give the same for the same, and change nothing.
_PURE = frozenset(
    [
        "abs",
        "all",
        "any",
        "ascii",
        "bin",
        "bool",
        "bytes",
        "callable",
        "chr",
        "complex",
        "dict",
        "divmod",
        "enumerate",
        "filter",
        "float",
        "format",
        "frozenset",
        "hash",
        "hex",
        "int",
        "isinstance",
        "issubclass",
        "len",
        "list",
        "map",
        "max",
        "min",
        "oct",
        "ord",
        "pow",
        "range",
        "repr",
        "reversed",
        "round",
        "set",
        "sorted",
        "str",
        "sum",
        "tuple",
        "type",
        "zip",
    ]
)
#: Ways to the program that name it in a text, or not at all.
_HIDDEN = frozenset(
    [
        "eval",
        "exec",
        "globals",
        "locals",
        "vars",
        "getattr",
        "__import__",
        "import_module",
        "importlib",
        "sys",
        "inspect",
        "doctest",
        "subprocess",
        "runpy",
        "patch",
    ]
)
_BUILTIN = frozenset(vars(builtins))
#: Names that stand for something else in each class: what they are linked to says nothing.
_OWNERS = frozenset(("self", "cls"))
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_FIXED = (int, float, complex, str, bytes, bool, type(None), type(...))


class Reach:
    """What the names of a suite stand for. ``source``: its text; ``program``: the names that the program defines."""

    def __init__(self, source: str, body: Sequence[ast.stmt], program: Iterable[str]) -> None:
        self._body = body
        self._deciding: set[str] = set()
        self.program = set(program) - set(self._replaced())
        if any(name in source for name in PROGRAM):
            self.program |= set(self._imported())

    def tells(self, asked: Sequence[ast.AST], truth: bool) -> bool:
        """Whether an assertion that asks this can fail. ``truth``: it is one condition that must be true."""
        if truth:
            return not self._certain(asked[0])
        return not all(self.constant(node) for node in asked)

    def reaches(self, nodes: Iterable[ast.AST]) -> bool:
        """Whether the nodes name the program, or something that had to do with it anywhere in the tests."""
        ahead = {name for node in nodes for name in mentioned(node)}
        if ahead & self.program or ahead & _HIDDEN:
            return True
        seen: set[str] = set()
        while ahead:
            name = ahead.pop()
            seen.add(name)
            more = self._links.get(name, set())
            if more & self.program or more & _HIDDEN:
                return True
            ahead |= more - seen
        return False

    def constant(self, node: ast.AST) -> bool:
        """Whether a node's value is the same whatever the program does."""
        if isinstance(node, ast.Constant):
            return True
        if isinstance(node, ast.Name):
            return node.id not in self.program and self._fixed(node.id)
        if isinstance(node, ast.Call):
            return self._plain_call(node) and all(
                self.constant(each) for each in (*node.args, *(keyword.value for keyword in node.keywords))
            )
        if isinstance(node, ast.Lambda):
            return False
        if isinstance(node, (ast.Expr, ast.Return, ast.Raise)):
            return all(self.constant(each) for each in ast.iter_child_nodes(node))
        if isinstance(node, (ast.expr, ast.comprehension, ast.FormattedValue)):
            return not isinstance(node, (ast.Attribute, ast.Await, ast.Yield, ast.YieldFrom)) and all(
                self.constant(each)
                for each in ast.iter_child_nodes(node)
                if not isinstance(each, (ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop))
            )
        return isinstance(node, ast.Pass)

    def _certain(self, node: ast.AST) -> bool:
        """Whether a condition is true whatever the program does: a tuple, a function, ``... or True``."""
        if isinstance(node, (ast.Lambda, ast.GeneratorExp)):
            return True
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            return not any(isinstance(each, ast.Starred) for each in node.elts)
        if isinstance(node, (ast.Dict, ast.JoinedStr)):
            return bool(node.keys if isinstance(node, ast.Dict) else node.values)
        if isinstance(node, ast.BoolOp):
            certain = [self._certain(value) for value in node.values]
            return any(certain) if isinstance(node.op, ast.Or) else all(certain)
        return self.constant(node)

    def _plain_call(self, call: ast.Call) -> bool:
        if isinstance(call.func, ast.Name):
            return (
                call.func.id in _PURE and call.func.id not in self.program and call.func.id not in self._bound
            )
        return isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Constant)

    def _fixed(self, name: str) -> bool:
        """Whether a name is bound once in the tests, to a constant that nothing can change."""
        if name not in self._bound or name in self._deciding:
            return name in _BUILTIN
        self._deciding.add(name)
        try:
            value, *others = self._bound[name]
            return value is not None and not others and _unchanging(value) and self.constant(value)
        finally:
            self._deciding.remove(name)

    @cached_property
    def _bound(self) -> dict[str, list[ast.expr | None]]:
        """Name -> what it is bound to anywhere in the tests; None for what is not known."""
        found: dict[str, list[ast.expr | None]] = defaultdict(list)
        for node in (each for statement in self._body for each in ast.walk(statement)):
            if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    known = node.value if isinstance(target, ast.Name) else None
                    for name in _names(target):
                        found[name].append(known)
            elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension, ast.AugAssign, ast.withitem)):
                bound = node.optional_vars if isinstance(node, ast.withitem) else node.target
                for name in _names(bound):
                    found[name].append(None)
            else:
                for name in _other_names(node):
                    found[name].append(None)
        return dict(found)

    @cached_property
    def _links(self) -> dict[str, set[str]]:
        """Name -> the names that it had to do with: in one statement, or in what it stands for."""
        links: dict[str, set[str]] = defaultdict(set)
        modules = {name for node in self._body for name in _modules(node)} - self.program
        for statement in (
            node for each in self._body for node in ast.walk(each) if isinstance(node, ast.stmt)
        ):
            if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
                links[statement.name] |= mentioned(statement)
                continue
            together = (
                {name for node in _own(statement) for name in mentioned(node)} - _BUILTIN - modules - _OWNERS
            )
            for name in together:
                links[name] |= together
        return links

    def _replaced(self) -> Iterator[str]:
        """Names that the tests bind anew at their top level before they use them: no longer the program's."""
        used: set[str] = set()
        for statement in self._body:
            if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
                yield from {statement.name} - used
                continue
            if isinstance(statement, (ast.Import, ast.ImportFrom)):
                module = statement.module if isinstance(statement, ast.ImportFrom) else None
                if module not in PROGRAM:
                    yield from (
                        alias.asname or alias.name for alias in statement.names if alias.name not in PROGRAM
                    )
                continue
            mine = mentioned(statement)
            if isinstance(statement, ast.Assign):
                yield from (
                    {name for target in statement.targets for name in _names(target)}
                    - used
                    - mentioned(statement.value)
                )
            used |= mine

    def _imported(self) -> Iterator[str]:
        """What the tests import of the program."""
        for node in (each for statement in self._body for each in ast.walk(statement)):
            if isinstance(node, ast.ImportFrom) and node.module in PROGRAM:
                yield from (alias.asname or alias.name for alias in node.names)
            elif isinstance(node, ast.Import):
                yield from (alias.asname or alias.name for alias in node.names if alias.name in PROGRAM)


def programs(name: str, value: Any) -> bool:
    """Whether a name of the program's namespace is the program's own, and not a module that it imports."""
    return not (name.startswith("__") and name.endswith("__")) and not isinstance(
        value, (types.ModuleType, types.BuiltinFunctionType)
    )


def mentioned(node: ast.AST) -> set[str]:
    """Every name in a node, also those of parameters."""
    found = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            found.add(each.id)
        elif isinstance(each, ast.arg):
            found.add(each.arg)
        elif isinstance(each, ast.Constant) and isinstance(each.value, str) and len(each.value) < 80:
            found.update(
                part for part in PROGRAM if each.value.startswith(f"{part}.")
            )  # mock.patch("program.f")
    return found


def _own(statement: ast.stmt) -> Iterator[ast.AST]:
    """The parts of a statement that are no statements themselves; of a ``with``, its whole block as well."""
    if isinstance(statement, (ast.With, ast.AsyncWith)):
        yield statement
        return
    for child in ast.iter_child_nodes(statement):
        if not isinstance(child, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            yield child


def _names(target: ast.AST | None) -> Iterator[str]:
    if target is not None:
        yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name))


def _modules(node: ast.AST) -> Iterator[str]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)


def _other_names(node: ast.AST) -> Iterator[str]:
    """Names that definitions, parameters, imports, handlers and patterns bind."""
    if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
        yield node.name
    elif isinstance(node, (ast.Global, ast.Nonlocal)):
        yield from node.names
    else:
        yield from _modules(node)


def _unchanging(node: ast.AST) -> bool:
    """Whether a value cannot be changed in place: numbers, texts, tuples of such, and what pure calls make of them."""
    if isinstance(node, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)):
        return False
    if isinstance(node, ast.Constant):
        return isinstance(node.value, _FIXED)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id not in ("list", "dict", "set", "bytearray")
    return all(_unchanging(each) for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr))
