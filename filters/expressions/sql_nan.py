"""Rewrites expressions so that NaN counts as null, both in columns and in intermediate results.

DuckDB treats NaN as the largest number, so ``0.0 / n > 1`` would be true for n = 0. Each value that may be
NaN is passed through a macro before a comparison, a function or the result reads it. Plain arithmetic
propagates NaN, so its operands are not rewritten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .sql_tree import Node, function_name, serialize, walk

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: x, or null if it is NaN. DuckDB reduces this to x for text and integers.
_WRITTEN_OUT = (
    "CASE WHEN typeof(x) IN ('FLOAT', 'DOUBLE') AND isnan(TRY_CAST(x AS DOUBLE)) THEN NULL ELSE x END"
)
_CALLED = "null_if_nan(x)"
#: Defines the macro in the evaluating database. Written out, each nesting level would triple the length.
DEFINITION = f"CREATE MACRO {_CALLED} AS {_WRITTEN_OUT}"
#: Functions that return NaN for NaN, as they return null for null.
_HANDS_ON = frozenset({"+", "-", "*", "/", "%", "abs", "round", "floor", "ceil", "exp", "ln", "log", "sqrt"})
#: A threshold, which is replaced by its number.
_PUT_IN = "quantile"


class _Ways(NamedTuple):
    """Two forms of the check for NaN.

    ``called`` calls the macro. ``written_out`` is for values that contain a window function, which DuckDB 1
    does not accept as an argument of a macro.
    """

    called: Node
    written_out: Node


def nan_as_null(database: DuckDBPyConnection, tree: Node) -> Node:
    """Return the tree with every value that may be NaN turned into null, where it makes a difference."""
    ways = _Ways(*(_selected(database, text) for text in (_CALLED, _WRITTEN_OUT)))
    rewritten: Node = _rewritten(tree, ways, hands_on=False, looked_at=False)
    return rewritten


def _selected(database: DuckDBPyConnection, text: str) -> Node:
    selected: Node = serialize(database, f"SELECT {text}", "", "")["node"]["select_list"][0]
    return selected


def _rewritten(part: Any, ways: _Ways, *, hands_on: bool, looked_at: bool) -> Any:
    """``hands_on``: the parent propagates NaN. ``looked_at``: an enclosing window is already checked."""
    if isinstance(part, list):
        return [_rewritten(each, ways, hands_on=hands_on, looked_at=looked_at) for each in part]
    if not isinstance(part, dict):
        return part
    is_node = "class" in part
    way = None
    if is_node and not hands_on and _may_be_nan(part):
        holds_window = any(node.get("class") == "WINDOW" for node in walk(part))
        way = ways.called if not holds_window else None if looked_at else ways.written_out
    inside = function_name(part) in _HANDS_ON if is_node else hands_on
    looked_at = looked_at or way is ways.written_out
    made = {key: _rewritten(value, ways, hands_on=inside, looked_at=looked_at) for key, value in part.items()}
    return made if way is None else _filled(way, made)


def _may_be_nan(node: Node) -> bool:
    from .sql_functions import catalog

    if node["class"] != "FUNCTION" or function_name(node) == _PUT_IN:
        return bool(node["class"] == "CAST")
    known = catalog().get(function_name(node))
    return known is not None and known.floating


def _filled(way: Any, value: Node) -> Any:
    """Return ``way`` with ``value`` in place of x."""
    if isinstance(way, list):
        return [_filled(each, value) for each in way]
    if not isinstance(way, dict):
        return way
    if way.get("class") == "COLUMN_REF":
        return value
    return {key: _filled(each, value) for key, each in way.items()}
