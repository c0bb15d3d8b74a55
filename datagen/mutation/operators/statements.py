"""A missing statement, or a loop that is left or continued by mistake."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..source_text import SourceText
from .mutation import Mutation, TextChange

LONGEST_GUARD = 2


class Statements(Mutation):
    kind = "missing_statement"

    def changes(self, source: SourceText, node: ast.AST, function: ast.AST) -> Iterator[TextChange]:
        if isinstance(node, ast.Break):
            yield TextChange(source.replace(node, "continue"), "goes on with a loop that it should leave")
        elif isinstance(node, ast.Continue):
            yield TextChange(source.replace(node, "break"), "leaves a loop that it should go on with")
        elif isinstance(node, (ast.AugAssign, ast.Raise, ast.Delete)) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        ):
            yield TextChange(source.replace(node, "pass"), f"lacks `{_first_line(source, node)}`")
        elif isinstance(node, ast.If) and not node.orelse and len(node.body) <= LONGEST_GUARD:
            yield TextChange(source.replace(node, "pass"), f"lacks the case `{source.code(node.test)}`")


def _first_line(source: SourceText, node: ast.stmt) -> str:
    return source.code(node).splitlines()[0]
