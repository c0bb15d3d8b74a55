"""The wrong comparison."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..source_text import SourceText
from .mutation import Mutation, TextChange

SYMBOLS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.In: "in", ast.NotIn: "not in", ast.Is: "is", ast.IsNot: "is not",
}  # fmt: skip
WRONG = {
    "<": ("<=", ">"), "<=": ("<", ">="), ">": (">=", "<"), ">=": (">", "<="), "==": ("!=",), "!=": ("==",),
    "in": ("not in",), "not in": ("in",), "is": ("is not",), "is not": ("is",),
}  # fmt: skip


class Comparisons(Mutation):
    kind = "comparison"

    def changes(self, source: SourceText, node: ast.AST, function: ast.AST) -> Iterator[TextChange]:
        if not isinstance(node, ast.Compare):
            return
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            symbol = SYMBOLS[type(operator)]
            for wrong in WRONG[symbol]:
                replacement = source.replace_word(left, right, symbol, wrong)
                if replacement:
                    yield TextChange(replacement, f"compares with `{wrong}` for `{symbol}`")
            left = right
