"""Arguments in the wrong order, or one too few."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..source_text import Replacement, SourceText
from .mutation import Mutation, TextChange


class Arguments(Mutation):
    kind = "argument"

    def changes(self, source: SourceText, node: ast.AST, function: ast.AST) -> Iterator[TextChange]:
        if not isinstance(node, ast.Call) or any(isinstance(each, ast.Starred) for each in node.args):
            return
        for first, second in zip(node.args, node.args[1:], strict=False):
            start, stop = source.span(first)[0], source.span(second)[1]
            gap = source.text[source.span(first)[1] : source.span(second)[0]]
            swapped = f"{source.code(second)}{gap}{source.code(first)}"
            if source.code(first) != source.code(second) and gap.strip() == ",":
                yield TextChange(Replacement(start, stop, swapped), "passes two arguments in the wrong order")
        if len(node.args) > 1 and not node.keywords:
            start, stop = source.span(node.args[-2])[1], source.span(node.args[-1])[1]
            yield TextChange(Replacement(start, stop, ""), "leaves out an argument")
        for keyword in node.keywords:
            if (
                keyword.arg
                and isinstance(keyword.value, ast.Constant)
                and len(node.args) + len(node.keywords) > 1
            ):
                start = source.offset(keyword.lineno, keyword.col_offset)
                comma = source.text.rfind(",", 0, start)
                if comma >= 0 and not source.text[comma + 1 : start].strip():
                    change = Replacement(comma, source.span(keyword.value)[1], "")
                    yield TextChange(change, f"leaves out the argument `{keyword.arg}`")
