"""Parses one boolean SQL expression, and refuses what no expression may hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...contracts.errors import DataError
from .sql_functions import refusals
from .sql_tree import (
    DEEPEST,
    LONGEST,
    Node,
    _selected,
    walk,
    without_places,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def parse(database: DuckDBPyConnection, expression: str, who: str) -> Node:
    """Return the tree of the expression. ``who``: the prefix of error messages.

    Raises DataError if the text is not exactly one expression, contains a sub-query, ``*`` or a parameter, or
    calls a function that is unknown, reads tables or files, or is not deterministic.
    """
    if not expression.strip():
        raise DataError(f'{who} needs an expression, such as "passed AND score > 0.5"')
    if len(expression) > LONGEST:
        raise DataError(f"{who}: an expression has {LONGEST:,} characters at most: found {len(expression):,}")
    text, expression = expression, " ".join(expression.split())
    try:
        tree = _single(database, text, expression, who)
        deep = _depth(tree) > DEEPEST
    except RecursionError:
        deep = True
    if deep:
        raise DataError(f"{who}: the expression is nested too deeply: found '{expression[:60]}…'")
    for node in walk(tree):
        if node.get("class") == "SUBQUERY":
            raise DataError(
                f"{who} takes no sub-query (write 'avg(x) OVER ()' for a total): found '{expression}'"
            )
        if node.get("class") == "STAR":
            raise DataError(f"{who} needs its columns by name, not '*': found '{expression}'")
        if node.get("class") == "POSITIONAL_REFERENCE":
            raise DataError(
                f"{who} needs its columns by name, not by their number ('#1'): found '{expression}'"
            )
        if node.get("class") == "PARAMETER":
            raise DataError(f"{who} takes no parameters ('?' or '$1'): found '{expression}'")
    for reason in refusals(tree):
        raise DataError(f"{who}: {reason}: found '{expression}'")
    return tree


def _single(database: DuckDBPyConnection, text: str, expression: str, who: str) -> Node:
    """Return the single expression in ``text``. ``expression``: how errors quote it."""
    # The line break ends a trailing comment, which would hide the bracket.
    tree = _selected(database, f"({text}\n)", expression, who)
    try:
        # Also without added brackets: "a) OR (b" would close them.
        bare = _selected(database, f"{text}\n", expression, who)
    except DataError:
        bare = None
    if tree is None or bare is None or without_places(tree) != without_places(bare):
        raise DataError(
            f"{who} takes one expression, not a part of one, a list or a query: found '{expression}'"
        )
    return tree


def _depth(tree: object) -> int:
    """Return the depth of the tree."""
    deepest, level = 0, [tree]
    while level:
        inner: list[object] = []
        for each in level:
            inner += each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        deepest, level = deepest + 1, inner
    return deepest
