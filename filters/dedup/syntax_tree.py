"""Python compared by its syntax tree, so that names of local variables, comments and layout do not count."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, TypeAlias

#: A longer text is compared as characters: its tree would take some hundred times its memory.
LONGEST_PROGRAM = 200_000
_FENCE = re.compile(r"^(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[^\n`]*)$", re.MULTILINE)
_PYTHON = ("", "python", "python3", "py")


def program_key(text: str) -> tuple[str, ...] | None:
    """Return a key that is equal for equal programs: one text per fenced block, or one for a whole text.

    Equal programs have the same syntax tree except for docstrings, the names of parameters and local
    variables, and the order of imports that follow each other. If an answer in Markdown has fenced blocks of
    which one is Python, the prose around them does not count, and blocks in other languages are compared
    character by character. None: there is no Python that does anything.
    """
    if len(text) > LONGEST_PROGRAM:
        return None
    blocks = list(_fenced(text.replace("\r\n", "\n")))
    if not blocks:
        tree = _tree_key(text)
        return None if tree is None else (tree,)
    trees = [_tree_key(code) if language in _PYTHON else None for language, code in blocks]
    if not any(trees):
        return None
    return tuple(tree or f"{language}:{code.strip()}" for tree, (language, code) in zip(trees, blocks))


def _fenced(text: str) -> Iterator[tuple[str, str]]:
    """Yield the language and the text of each fenced block. The last one may lack its end."""
    opening: re.Match[str] | None = None
    for line in _FENCE.finditer(text):
        if opening is None:
            opening = line
        elif line["fence"].startswith(opening["fence"]) and not line["language"].strip():
            yield _block(opening, text[opening.end() + 1 : line.start()])
            opening = None
    if opening is not None:
        yield _block(opening, text[opening.end() + 1 :])


def _block(opening: re.Match[str], code: str) -> tuple[str, str]:
    words = opening["language"].lower().split()
    return words[0] if words else "", code


def _tree_key(code: str) -> str | None:
    """The tree as text, or None if Python cannot parse the code or nothing is in it."""
    try:
        tree = ast.parse(code)
        _Canonical().visit(tree)
        return ast.dump(tree) if tree.body else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


class _Scope(dict[str, str | None]):
    """What the local names of a function become; None until they occur. A class keeps its names, which are
    attributes, and the functions in it do not see them."""

    of_class = False


class _Canonical(ast.NodeTransformer):
    """Removes docstrings, sorts imports, and numbers local names in the order in which they occur."""

    def __init__(self) -> None:
        self.scopes: list[_Scope] = []
        self.count = 0

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = _without_docstring(node.body)
        for field in ("body", "orelse", "finalbody"):
            if isinstance(statements := getattr(node, field, None), list):
                setattr(node, field, _with_imports_sorted(statements))
        return super().visit(node)

    def visit_FunctionDef(self, node: _Function) -> _Function:
        node.name = self._renamed(node.name)
        node.decorator_list = [self.visit(each) for each in node.decorator_list]
        node.returns = self.visit(node.returns) if node.returns else None
        self._arguments(node.args, node.body)
        node.body = [self.visit(each) for each in node.body]
        self.scopes.pop()
        return node

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        self._arguments(node.args, [node.body])
        node.body = self.visit(node.body)
        self.scopes.pop()
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        node.name = self._renamed(node.name)
        node.decorator_list = [self.visit(each) for each in node.decorator_list]
        node.bases = [self.visit(each) for each in node.bases]
        node.keywords = [self.visit(each) for each in node.keywords]
        scope = _Scope({name: name for name in _bound(node.body)})
        scope.of_class = True
        self.scopes.append(scope)
        node.body = [self.visit(each) for each in node.body]
        self.scopes.pop()
        return node

    def visit_ListComp(self, node: _Comprehension) -> _Comprehension:
        node.generators[0].iter = self.visit(node.generators[0].iter)  # computed outside
        self.scopes.append(_Scope(dict.fromkeys(_bound([each.target for each in node.generators]))))
        for place, part in enumerate(node.generators):
            part.target = self.visit(part.target)
            part.iter = self.visit(part.iter) if place else part.iter
            part.ifs = [self.visit(each) for each in part.ifs]
        for field in ("key", "value", "elt"):
            if hasattr(node, field):
                setattr(node, field, self.visit(getattr(node, field)))
        self.scopes.pop()
        return node

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self._renamed(node.id)
        return node

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.Nonlocal:
        node.names = [self._renamed(name) for name in node.names]
        return node

    def visit_alias(self, node: ast.alias) -> ast.alias:
        node.asname = node.asname and self._renamed(node.asname)
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        node.name = node.name and self._renamed(node.name)
        return self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> ast.AST:
        node.name = node.name and self._renamed(node.name)
        return self.generic_visit(node)

    visit_MatchStar = visit_MatchAs

    def visit_MatchMapping(self, node: ast.MatchMapping) -> ast.AST:
        node.rest = node.rest and self._renamed(node.rest)
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        node.kind = None  # u"text" is "text"
        return node

    def _arguments(self, arguments: ast.arguments, body: Sequence[ast.AST]) -> None:
        """Rename the parameters, and leave the scope of the body open. Defaults are outside of it."""
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += [each for each in (arguments.vararg, arguments.kwarg) if each]
        arguments.defaults = [self.visit(each) for each in arguments.defaults]
        arguments.kw_defaults = [each and self.visit(each) for each in arguments.kw_defaults]
        for each in every:
            each.annotation = each.annotation and self.visit(each.annotation)
        names = [each.arg for each in every]
        self.scopes.append(_Scope(dict.fromkeys([*names, *_bound(body)])))
        for each in every:
            each.arg = self._renamed(each.arg)

    def _renamed(self, name: str) -> str:
        for depth, scope in enumerate(reversed(self.scopes)):
            if name in scope and not (scope.of_class and depth):
                if scope[name] is None:
                    scope[name] = f"local {self.count}"
                    self.count += 1
                return scope[name] or name
        return name


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return rest
    return body


def _with_imports_sorted(body: list[ast.stmt]) -> list[ast.stmt]:
    """Split imports into one name each, and sort those that follow each other."""
    found: list[ast.stmt] = []
    for imports, group in groupby(body, lambda each: isinstance(each, (ast.Import, ast.ImportFrom))):
        statements = list(group)
        found += sorted(_split(statements), key=_imported) if imports else statements
    return found


def _split(statements: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    for each in statements:
        if isinstance(each, ast.Import):
            yield from (ast.Import([alias]) for alias in each.names)
        elif isinstance(each, ast.ImportFrom):
            yield from (ast.ImportFrom(each.module, [alias], each.level) for alias in each.names)


def _imported(statement: ast.stmt) -> tuple[int, str, str]:
    if isinstance(statement, ast.ImportFrom):
        return statement.level or 0, statement.module or "", statement.names[0].name
    return -1, "", statement.names[0].name if isinstance(statement, ast.Import) else ""


def _bound(body: Iterable[ast.AST]) -> list[str]:
    """The names that are local where the statements stand."""
    visitor = _BoundNames()
    for each in body:
        visitor.visit(each)
    return [name for name in visitor.names if name not in visitor.outer]


class _BoundNames(ast.NodeVisitor):
    """Collects the names that statements bind, without those of the scopes in them. A name that an import
    gives without `as` says what it is, and does not count."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.outer: set[str] = set()

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._add(node.id)

    def visit_FunctionDef(self, node: _Function | ast.ClassDef) -> None:
        self._add(node.name)

    visit_AsyncFunctionDef = visit_ClassDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        return

    def visit_ListComp(self, node: ast.AST) -> None:
        for each in ast.walk(node):
            if isinstance(each, ast.NamedExpr):  # bound outside of the comprehension
                self.visit(each.target)

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp

    def visit_alias(self, node: ast.alias) -> None:
        self._add(node.asname)

    def visit_ExceptHandler(self, node: ast.ExceptHandler | ast.MatchAs | ast.MatchStar) -> None:
        self._add(node.name)
        self.generic_visit(node)

    visit_MatchAs = visit_MatchStar = visit_ExceptHandler

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self._add(node.rest)
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        self.outer.update(node.names)

    visit_Nonlocal = visit_Global

    def _add(self, name: str | None) -> None:
        if name is not None:
            self.names.setdefault(name)
