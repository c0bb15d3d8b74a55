"""A wrong return value."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..source_text import SourceText
from .mutation import Mutation, TextChange


class Returns(Mutation):
    kind = "wrong_return"

    def changes(self, source: SourceText, node: ast.AST, function: ast.AST) -> Iterator[TextChange]:
        if not isinstance(node, ast.Return) or node.value is None or isinstance(node.value, ast.Constant):
            return
        code = source.code(node.value)
        if isinstance(node.value, ast.Tuple) and len(node.value.elts) == 2:
            first, second = (source.code(each) for each in node.value.elts)
            yield TextChange(
                source.replace(node.value, f"({second}, {first})"), "returns a pair the wrong way round"
            )
        if isinstance(node.value, (ast.Compare, ast.BoolOp)):
            yield TextChange(source.replace(node.value, f"not ({code})"), "returns the opposite")
        elif isinstance(node.value, ast.BinOp):
            yield TextChange(
                source.replace(node.value, source.code(node.value.left)), "returns before the last step"
            )
        yield TextChange(source.replace(node.value, "None"), "returns nothing")
