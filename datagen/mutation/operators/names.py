"""A wrong variable: another one of the same function."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..source_text import SourceText
from .mutation import Mutation, TextChange

#: Maximum number of other names per place.
MOST = 2


class Names(Mutation):
    kind = "wrong_name"

    def changes(self, source: SourceText, node: ast.AST, function: ast.AST) -> Iterator[TextChange]:
        if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Load):
            return
        known = _variables(function)
        if node.id not in known:
            return
        place = known.index(node.id)
        nearest = sorted(
            (other for other in known if other != node.id), key=lambda o: abs(known.index(o) - place)
        )
        for other in nearest[:MOST]:
            yield TextChange(source.replace(node, other), f"uses `{other}` for `{node.id}`")


def _variables(function: ast.AST) -> list[str]:
    """Parameters and assigned names, in the order in which they appear."""
    found: dict[str, None] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.arg) and node.arg not in ("self", "cls"):
            found[node.arg] = None
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found[node.id] = None
    return list(found)
