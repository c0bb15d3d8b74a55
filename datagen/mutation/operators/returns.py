"""A wrong return value."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..source import Source
from .mutation import Change, Mutation


class Returns(Mutation):
    kind = "wrong_return"

    def changes(self, source: Source, node: ast.AST, function: ast.AST) -> Iterator[Change]:
        if not isinstance(node, ast.Return) or node.value is None or isinstance(node.value, ast.Constant):
            return
        code = source.code(node.value)
        if isinstance(node.value, ast.Tuple) and len(node.value.elts) == 2:
            first, second = (source.code(each) for each in node.value.elts)
            yield Change(
                source.replace(node.value, f"({second}, {first})"), "returns a pair the wrong way round"
            )
        if isinstance(node.value, (ast.Compare, ast.BoolOp)):
            yield Change(source.replace(node.value, f"not ({code})"), "returns the opposite")
        elif isinstance(node.value, ast.BinOp):
            yield Change(
                source.replace(node.value, source.code(node.value.left)), "returns before the last step"
            )
        yield Change(source.replace(node.value, "None"), "returns nothing")
