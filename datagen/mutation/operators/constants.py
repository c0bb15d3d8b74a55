"""A wrong constant."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..source_text import SourceText
from .mutation import Mutation, TextChange


class Constants(Mutation):
    kind = "constant"

    def changes(self, source: SourceText, node: ast.AST, function: ast.AST) -> Iterator[TextChange]:
        if not isinstance(node, ast.Constant):
            return
        written = source.code(node)
        for wrong in self._wrong(node.value):
            text = repr(wrong)
            if text != written and len(written) < 60:
                yield TextChange(source.replace(node, text), f"has `{text}` for `{written}`")

    @staticmethod
    def _wrong(value: object) -> list[object]:
        if isinstance(value, bool):
            return [not value]
        if isinstance(value, int):
            return [value + 1, value - 1] if value > 0 else [1]
        if isinstance(value, float):
            return [value * 2, 0.0] if value else [1.0]
        if isinstance(value, str):
            if "\n" in value:
                return []
            return [value[:-1], value.swapcase()] if value else [" "]
        return []
