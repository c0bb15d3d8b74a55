"""Finds assertions that cannot depend on the program: those on constants, and in tests that never use it.

The decision uses the text of the tests, and is made only when needed. In doubt an assertion counts. Mutants
of the program (``verify: tests``) find the remaining weak tests.
"""

from __future__ import annotations

import ast
import builtins
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from .certain import certain
from .names import (
    FUNCTIONS,
    PROGRAM,
    RAN,
    imported_names,
    mentioned,
    names_of,
    otherwise_bound,
    parts,
    unchanging,
    walk,
)

#: Pure functions: equal arguments give equal results, and there are no side effects.
_PURE = frozenset((
    "abs", "all", "any", "ascii", "bin", "bool", "bytes", "callable", "chr", "complex", "dict",
    "divmod", "enumerate", "filter", "float", "format", "frozenset", "hash", "hex", "int", "isinstance",
    "issubclass", "len", "list", "map", "max", "min", "oct", "ord", "pow", "range", "repr", "reversed",
    "round", "set", "sorted", "str", "sum", "tuple", "type", "zip",
))  # fmt: skip
#: Names through which tests may use the program without naming it in code.
_HIDDEN = frozenset((
    "eval", "exec", "globals", "locals", "vars", "getattr", "__import__", "import_module", "importlib",
    "sys", "inspect", "doctest", "subprocess", "runpy", "patch",
))  # fmt: skip
_BUILTIN = frozenset(vars(builtins))
#: Names that have another meaning in each class, so links through them are ignored.
_OWNERS = frozenset(("self", "cls"))


class Reach:
    """Which names of a suite depend on the program.

    ``source``: text of the suite. ``program``: the names that the program defines.
    """

    def __init__(self, source: str, body: Sequence[ast.stmt], program: Iterable[str]) -> None:
        self._body = body
        self._deciding: set[str] = set()
        self.program = set(program) - set(self._replaced())
        if any(name in source for name in PROGRAM):
            self.program |= {*PROGRAM, *self._imported()}

    def tells(self, asked: Sequence[ast.AST], truth: bool | None) -> bool:
        """Whether an assertion on these nodes can fail.

        ``truth``: the required truth value if the assertion is a single condition; otherwise None.
        """
        if truth is not None:
            return not (self.constant(asked[0]) or certain(asked[0], truth, self.constant))
        return not all(self.constant(node) for node in asked)

    def reaches(self, nodes: Iterable[ast.AST]) -> bool:
        """Whether the nodes name the program, or something that is linked to it anywhere in the tests."""
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
        """Whether a node has the same value for any program."""
        if isinstance(node, ast.Constant):
            return True
        if isinstance(node, ast.Name):
            return node.id not in self.program and self._fixed(node.id)
        if isinstance(node, ast.Call):
            given = (*node.args, *(keyword.value for keyword in node.keywords))
            plain = self._plain_call(node) and all(self.constant(each) for each in given)
            return plain or self._counts_what_is_written(node)
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

    def _counts_what_is_written(self, call: ast.Call) -> bool:
        """Whether a call is like ``len([f(1)])``: the length of a literal."""
        written = call.args[0] if len(call.args) == 1 else None
        return (
            isinstance(written, (ast.List, ast.Tuple))
            and isinstance(call.func, ast.Name)
            and call.func.id == "len"
            and self.constant(call.func)
            and not any(isinstance(each, ast.Starred) for each in written.elts)
        )

    def _plain_call(self, call: ast.Call) -> bool:
        if isinstance(call.func, ast.Name):
            if call.func.id == RAN:
                return True
            return (
                call.func.id in _PURE and call.func.id not in self.program and call.func.id not in self._bound
            )
        return isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Constant)

    def _fixed(self, name: str) -> bool:
        """Whether a name is bound exactly once in the tests, to an immutable constant."""
        if name not in self._bound or name in self._deciding:
            return name in _BUILTIN
        self._deciding.add(name)
        try:
            value, *others = self._bound[name]
            return value is not None and not others and unchanging(value) and self.constant(value)
        finally:
            self._deciding.remove(name)

    @cached_property
    def _bound(self) -> dict[str, list[ast.expr | None]]:
        """Name -> the values to which the tests bind it; None for an unknown value."""
        found: dict[str, list[ast.expr | None]] = defaultdict(list)
        for node in (each for statement in self._body for each in walk(statement)):
            if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    known = node.value if isinstance(target, ast.Name) else None
                    for name in names_of(target):
                        found[name].append(known)
            elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension, ast.AugAssign, ast.withitem)):
                bound = node.optional_vars if isinstance(node, ast.withitem) else node.target
                for name in names_of(bound):
                    found[name].append(None)
            else:
                for name in otherwise_bound(node):
                    found[name].append(None)
        return dict(found)

    @cached_property
    def _links(self) -> dict[str, set[str]]:
        """Name -> the names linked to it: in the same statement, or in its definition."""
        links: dict[str, set[str]] = defaultdict(set)
        modules = {name for node in self._body for name in imported_names(node)} - self.program
        for statement in (node for each in self._body for node in walk(each) if isinstance(node, ast.stmt)):
            if isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
                links[statement.name] |= mentioned(statement)
                continue
            together = (
                {name for node in parts(statement) for name in mentioned(node)} - _BUILTIN - modules - _OWNERS
            )
            for name in together:
                links[name] |= together
        return links

    def _replaced(self) -> Iterator[str]:
        """Names that the tests rebind at the top level before using them, so not the program's."""
        used: set[str] = set()
        for statement in self._body:
            if isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
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
                    {name for target in statement.targets for name in names_of(target)}
                    - used
                    - mentioned(statement.value)
                )
            used |= mine

    def _imported(self) -> Iterator[str]:
        """The names that the tests import from the program."""
        for node in (each for statement in self._body for each in walk(statement)):
            if isinstance(node, ast.ImportFrom) and node.module in PROGRAM:
                yield from (alias.asname or alias.name for alias in node.names)
            elif isinstance(node, ast.Import):
                yield from (alias.asname or alias.name for alias in node.names if alias.name in PROGRAM)
