"""Off-by-one errors in a range, an index or a slice."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..source_text import SourceText
from .mutation import Mutation, TextChange


class Boundaries(Mutation):
    kind = "off_by_one"

    def changes(self, source: SourceText, node: ast.AST, function: ast.AST) -> Iterator[TextChange]:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
            for end in node.args[:2]:
                yield from _shifted(source, end, "has a range that is off by one")
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            if isinstance(node.slice, ast.Slice):
                for bound in (node.slice.lower, node.slice.upper):
                    if bound is not None:
                        yield from _shifted(source, bound, "has a slice that is off by one")
            elif isinstance(node.slice, (ast.BinOp, ast.Name)):
                yield from _shifted(source, node.slice, "has an index that is off by one")


def _shifted(source: SourceText, node: ast.expr, mistake: str) -> Iterator[TextChange]:
    """One more and one less; another operator changes constants."""
    if isinstance(node, (ast.Constant, ast.Starred)) or (
        isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant)
    ):
        return
    code = source.code(node)
    sums = (ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.BinOp)
    inner = code if isinstance(node, sums) else f"({code})"
    for shift, undone in (("+ 1", "- 1"), ("- 1", "+ 1")):
        if code.endswith(undone) and isinstance(node, ast.BinOp):
            yield TextChange(source.replace(node, source.code(node.left)), mistake)
        else:
            yield TextChange(source.replace(node, f"{inner} {shift}"), mistake)
