"""The shape of Python functions: what is left when variables are renamed and comments move."""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
import warnings
from collections.abc import Iterator
from hashlib import blake2b

#: Fewest syntax nodes of a body whose shape identifies it. Smaller ones are alike by chance.
SMALLEST = 24
#: Longest text, in characters, that is searched for functions.
LONGEST = 200_000
_HEAD = re.compile(r"^([ \t]*)(?:async[ \t]+)?def[ \t]+\w+[ \t]*\(", re.MULTILINE)
_KEPT = frozenset(dir(builtins))


def function_shapes(text: str) -> list[bytes]:
    """Return the digest of the body of each Python function in the text, wherever it stands in it.

    Two bodies have the same digest if they differ only in names that are not built in, in annotations,
    docstrings, comments and layout. An indented text without ``def`` counts as a body itself. What cannot be
    parsed, and bodies of fewer than 24 syntax nodes, are left out.
    """
    return [shape for block in _blocks(text[:LONGEST]) for shape in _shapes(block)]


def _blocks(text: str) -> Iterator[str]:
    """Each function in the text that lies in no other, without its indentation."""
    if "def " not in text:
        if text.startswith((" ", "\t")):
            yield "def body():\n" + textwrap.indent(textwrap.dedent(text), "    ")
        return
    done = 0
    for head in _HEAD.finditer(text):
        if head.start() < done:
            continue
        indent = len(head[1].expandtabs())
        done = _end_of_block(text, head.end(), indent)
        yield textwrap.dedent(text[head.start() : done])


def _end_of_block(text: str, start: int, indent: int) -> int:
    """Where the lines end that are blank, close the bracket of the head, or are indented more deeply."""
    at = text.find("\n", start)
    while at != -1:
        line_end = text.find("\n", at + 1)
        line = text[at + 1 : line_end if line_end != -1 else len(text)]
        deeper = len(line.expandtabs()) - len(line.expandtabs().lstrip()) > indent
        if line.strip() and not deeper and not line.lstrip().startswith(")"):
            return at + 1
        at = line_end
    return len(text)


def _shapes(block: str) -> Iterator[bytes]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(block)
        for function in tree.body:
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                body = function.body[ast.get_docstring(function, clean=False) is not None :]
                nodes = sum(
                    not isinstance(node, ast.expr_context) for part in body for node in ast.walk(part)
                )
                if nodes >= SMALLEST:
                    renamed = _Renamed()
                    dumped = "\n".join(ast.dump(renamed.visit(part)) for part in body)
                    yield blake2b(dumped.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return


class _Renamed(ast.NodeTransformer):
    """Numbers names in the order in which they occur, and removes annotations and docstrings."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def _new(self, name: str) -> str:
        return name if name in _KEPT else self.names.setdefault(name, f"v{len(self.names)}")

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self._new(node.id), node.ctx)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(self._new(node.arg))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return ast.Pass()
        return self.visit(ast.Assign([node.target], node.value))  # type: ignore[no-any-return]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        body = node.body[ast.get_docstring(node, clean=False) is not None :] or [ast.Pass()]
        plain = ast.FunctionDef(self._new(node.name), node.args, body, node.decorator_list)
        return self.generic_visit(plain)
