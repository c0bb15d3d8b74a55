"""A negated condition, or conditions joined by the wrong operator."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..source_text import SourceText
from .mutation import Mutation, TextChange


class Conditions(Mutation):
    kind = "condition"

    def changes(self, source: SourceText, node: ast.AST, function: ast.AST) -> Iterator[TextChange]:
        if isinstance(node, (ast.If, ast.While, ast.IfExp)) and not isinstance(node.test, ast.Constant):
            yield TextChange(
                source.replace(node.test, _negated(source, node.test)), "has a condition the wrong way round"
            )
        elif isinstance(node, ast.BoolOp):
            right, wrong = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            for left, other in zip(node.values, node.values[1:], strict=False):
                replacement = source.replace_word(left, other, right, wrong)
                if replacement:
                    yield TextChange(replacement, f"joins conditions with `{wrong}` for `{right}`")
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            operand = source.code(node.operand)
            yield TextChange(source.replace(node, f"({operand})"), "lacks a `not`")


def _negated(source: SourceText, test: ast.expr) -> str:
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return source.code(test.operand)
    simple = isinstance(test, (ast.Name, ast.Attribute, ast.Call, ast.Subscript))
    return f"not {source.code(test)}" if simple else f"not ({source.code(test)})"
