"""The wrong arithmetic or bitwise operator."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..source_text import Replacement, SourceText
from .mutation import Mutation, TextChange

SYMBOLS: dict[type[ast.operator], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.LShift: "<<", ast.RShift: ">>", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^",
}  # fmt: skip
WRONG = {
    "+": ("-",), "-": ("+",), "*": ("+", "//"), "/": ("//", "*"), "//": ("/", "%"), "%": ("//",),
    "**": ("*",), "<<": (">>",), ">>": ("<<",), "&": ("|",), "|": ("&",), "^": ("|",),
}  # fmt: skip


class Arithmetic(Mutation):
    kind = "arithmetic"

    def changes(self, source: SourceText, node: ast.AST, function: ast.AST) -> Iterator[TextChange]:
        if isinstance(node, ast.BinOp) and not _joins_text(node):
            symbol = SYMBOLS.get(type(node.op), "")
            for wrong in WRONG.get(symbol, ()):
                replacement = source.replace_word(node.left, node.right, symbol, wrong)
                if replacement:
                    yield TextChange(replacement, f"uses `{wrong}` for `{symbol}`")
        elif isinstance(node, ast.AugAssign):
            symbol = SYMBOLS.get(type(node.op), "")
            start, stop = source.span(node.target)[1], source.span(node.value)[0]
            place = source.text.find(f"{symbol}=", start, stop)
            for wrong in WRONG.get(symbol, ()) if place >= 0 else ():
                change = Replacement(place, place + len(symbol), wrong)
                yield TextChange(change, f"uses `{wrong}=` for `{symbol}=`")


def _joins_text(node: ast.BinOp) -> bool:
    """Whether it joins text, as in `"a" + x` or `"%s" % x`: other operators only give type errors."""
    return any(
        isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in (node.left, node.right)
    )
