"""Parses one boolean SQL expression, and refuses what no expression may hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ...contracts.errors import DataError
from ...contracts.mistakes import Collected
from .sql_functions import refusals
from .sql_names import arrow_lambdas, references
from .sql_tree import (
    DEEPEST,
    LONGEST,
    Node,
    NotSql,
    _selected,
    parser,
    walk,
    without_places,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def parse(database: DuckDBPyConnection, expression: str, who: str) -> Node:
    """Return the tree of an expression. ``who``: the prefix of error messages.

    Raises DataError as :func:`tree_of` and :func:`refuse` do.
    """
    tree = tree_of(database, expression, who)
    refuse(tree, expression, who)
    return tree


def tree_of(database: DuckDBPyConnection, expression: str, who: str) -> Node:
    """Return the tree of an expression. Raises DataError if the text is not exactly one expression."""
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
    return tree


def names_in(expressions: Iterable[str]) -> Sequence[str]:
    """The names of columns in expressions, in lower case; of those that can be parsed."""
    found: dict[str, None] = {}
    with parser() as database:
        for expression in expressions:
            with suppress(DataError):
                for node in references(tree_of(database, expression, "expression")):
                    found |= dict.fromkeys(str(name).lower() for name in node["column_names"])
    return list(found)


def refuse(tree: Node, expression: str, who: str) -> None:
    """Raise DataError, with all reasons, if an expression contains what none may hold.

    This is a sub-query, ``*``, a parameter, or a function that is unknown, reads tables or files, or is not
    deterministic.
    """
    expression = " ".join(expression.split())
    tree = _without_queries(tree)
    with Collected() as found:
        for said in dict.fromkeys(_FORBIDDEN.get(str(node.get("class"))) for node in walk(tree)):
            if said is not None:
                found.add(DataError(f"{who} {said}: found '{expression}'"))
        for names in dict.fromkeys(arrow_lambdas(tree)):
            reason = f"write a lambda as 'lambda {names}: …', not with the arrow '->', which reads JSON"
            found.add(DataError(f"{who}: {reason}: found '{expression}'"))
        for reason in refusals(tree):
            found.add(DataError(f"{who}: {reason}: found '{expression}'"))


def _without_queries(part: Any) -> Any:
    """Return the tree without what is inside of its sub-queries, which are refused as a whole."""
    if isinstance(part, list):
        return [_without_queries(each) for each in part]
    if not isinstance(part, dict):
        return part
    if part.get("class") == "SUBQUERY":
        return {"class": "SUBQUERY"}
    return {key: _without_queries(value) for key, value in part.items()}


#: Class of a node that no expression may hold -> why.
_FORBIDDEN = {
    "SUBQUERY": "takes no sub-query (write 'avg(x) OVER ()' for a total)",
    "STAR": "needs its columns by name, not '*'",
    "POSITIONAL_REFERENCE": "needs its columns by name, not by their number ('#1')",
    "PARAMETER": "takes no parameters ('?' or '$1')",
}


def _single(database: DuckDBPyConnection, text: str, expression: str, who: str) -> Node:
    """Return the single expression in ``text``. ``expression``: how errors quote it."""
    try:
        # The line break ends a trailing comment, which would hide the bracket.
        tree = _selected(database, f"({text}\n)", expression, who)
    except NotSql as error:
        raise NotSql(who, expression, _located(error, text)) from None
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


def _located(error: NotSql, text: str) -> str:
    """Why ``text`` is no expression, and where; ``error`` is about ``SELECT (text``."""
    if error.byte is None:
        return error.reason
    inside = text.encode()[: max(0, error.byte - len("SELECT ("))].decode(errors="ignore")
    if inside.strip() == text.strip():  # what follows the text is ours
        last = text.split()[-1]
        return f"syntax error: it ends too early: a value or a closing bracket is missing after '{last}'"
    after = f", after '{' '.join(inside.split())}'" if inside.strip() else ""
    return f"{error.reason}{after}"


def _depth(tree: object) -> int:
    """Return the depth of the tree."""
    deepest, level = 0, [tree]
    while level:
        inner: list[object] = []
        for each in level:
            inner += each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        deepest, level = deepest + 1, inner
    return deepest
