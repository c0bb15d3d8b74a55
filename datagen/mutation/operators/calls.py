"""A call of a similar but wrong function or method."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..source_text import Replacement, SourceText
from .mutation import Mutation, TextChange

PAIRS = (
    ("min", "max"), ("any", "all"), ("floor", "ceil"), ("lower", "upper"), ("startswith", "endswith"),
    ("lstrip", "rstrip"), ("append", "extend"), ("find", "rfind"), ("index", "rindex"), ("split", "rsplit"),
    ("union", "intersection"), ("sin", "cos"), ("keys", "values"), ("add", "discard"), ("isdigit", "isalpha"),
    ("removeprefix", "removesuffix"), ("popleft", "pop"), ("appendleft", "append"), ("ljust", "rjust"),
    ("bisect_left", "bisect_right"), ("heappop", "heappush"), ("sum", "len"), ("log", "log2"),
    ("int", "round"),
)  # fmt: skip
WRONG: dict[str, str] = {**{right: left for left, right in PAIRS}, **dict(PAIRS)}


class Calls(Mutation):
    kind = "wrong_call"

    def changes(self, source: SourceText, node: ast.AST, function: ast.AST) -> Iterator[TextChange]:
        if not isinstance(node, ast.Call):
            return
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in WRONG:
            _, stop = source.span(node.func)
            change = Replacement(stop - len(name), stop, WRONG[name])
            yield TextChange(change, f"calls `{WRONG[name]}` for `{name}`")
        elif name in ("sorted", "reversed", "abs", "set") and len(node.args) == 1 and not node.keywords:
            yield TextChange(
                source.replace(node, f"({source.code(node.args[0])})"), f"lacks a call of `{name}`"
            )
