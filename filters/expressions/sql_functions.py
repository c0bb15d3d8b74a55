"""The functions that an expression may call: those that give the same result for the same row every time.

DuckDB states the stability of each overload of a function. A name is refused if none of its overloads is
consistent, and so is a macro whose definition calls such a name. The few functions that DuckDB declares
consistent although they read the clock or draw random numbers are listed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from ...contracts.nearest import did_you_mean
from .sql_tree import CLOCK_WORDS, Node, arguments_of, function_name, parser, serialize, text_literal, walk

_DRAWN_OR_SET = frozenset({"reservoir_quantile", "current_setting", "getvariable"})
_SEVERAL_ROWS = frozenset({"unnest", "unlist"})
#: Functions of the catalog that are refused for other reasons.
_POINTLESS = {
    "error": "error() gives no value: write the condition of the rows to keep",
    "pg_sleep": "pg_sleep() only waits, and gives no value",
    "sleep_ms": "sleep_ms() only waits, and gives no value",
    "write_log": "write_log() only writes a log, and gives no value",
    "setseed": "setseed() only sets the seed of random(), and gives no value",
}
#: Functions that take the name of an aggregate as text.
_BY_NAME = frozenset({"list_aggr", "list_aggregate", "array_aggr", "array_aggregate", "aggregate"})
_SCHEMAS = frozenset({"", "main", "system", "pg_catalog", "information_schema"})
_CALLABLE = frozenset({"scalar", "aggregate", "macro", "window"})


class SqlFunction(NamedTuple):
    """What the catalog states about a function name.

    ``kinds``: scalar, aggregate, macro, table and so on. ``consistent``: whether an overload always gives the
    same result. ``definitions``: the definitions, if it is a macro. ``floating``: whether it may return a
    float; unknown for a macro. ``takes_lambda``: whether an argument is a lambda.
    """

    kinds: frozenset[str]
    consistent: bool
    definitions: tuple[str, ...]
    floating: bool
    takes_lambda: bool


@cache
def catalog() -> dict[str, SqlFunction]:
    """Return all functions of the installed DuckDB, by their names in lower case."""
    import duckdb

    with duckdb.connect() as database:
        rows = database.execute(
            "SELECT lower(function_name), list(DISTINCT function_type), "
            "coalesce(bool_or(stability = 'CONSISTENT'), true), "
            "list(DISTINCT macro_definition) FILTER (WHERE function_type = 'macro'), "
            "bool_or(return_type IS NULL OR return_type IN ('FLOAT', 'DOUBLE')), "
            "bool_or(list_contains(parameter_types, 'LAMBDA')) "
            "FROM duckdb_functions() GROUP BY 1"
        ).fetchall()
    return {
        name: SqlFunction(frozenset(kinds), consistent, tuple(sorted(definitions or ())), floating, takes)
        for name, kinds, consistent, definitions, floating, takes in rows
    }


def refusals(tree: Node) -> Iterator[str]:
    """Yield why calls of an expression are refused, one reason per call."""
    for node in walk(tree):
        if node.get("class") == "FUNCTION" or node.get("type") == "WINDOW_AGGREGATE":
            reason = _refusal(node)
            if reason is not None:
                yield reason


def is_aggregate(node: Node) -> bool:
    """Whether the node calls an aggregate."""
    known = catalog().get(function_name(node)) if node.get("class") == "FUNCTION" else None
    return known is not None and known.kinds & _CALLABLE == {"aggregate"}


def _refusal(node: Node) -> str | None:
    name = function_name(node)
    if name in _POINTLESS:
        return _POINTLESS[name]
    if name in _SEVERAL_ROWS:
        return f"{name}() returns several rows: use a list function, such as list_transform or len"
    known = catalog().get(name)
    if known is None or not known.kinds & (_CALLABLE | {"table", "table_macro"}):
        named = [each for each, about in catalog().items() if about.kinds & _CALLABLE]
        return f"DuckDB has no function {name}(){did_you_mean(name, named)}"
    if not known.kinds & _CALLABLE:
        return f"{name}() reads tables or files, which an expression cannot reach"
    return f"it must give the same rows every time, and {name}() does not" if _changes(node) else None


def _changes(node: Node) -> bool:
    """Whether the result of a call may differ the next time, or this is unknown."""
    name, given = function_name(node), arguments_of(node)
    # In x.age() the argument is parsed as a schema.
    method = str(node.get("schema") or "").lower() not in _SCHEMAS
    if name in _BY_NAME:
        named = text_literal(given[1 - method]) if len(given) > 1 - method else None
        return named is None or changeable(named.lower())
    # With one argument, age() uses the current date.
    return changeable(name) or (name == "age" and len(given) + method == 1)


@cache
def changeable(name: str) -> bool:
    """Whether every overload of the function may change its result, or reads more than its arguments."""
    known = catalog().get(name)
    if known is None or not known.consistent or name in _DRAWN_OR_SET:
        return True
    if not known.definitions:
        return False
    with parser() as database:
        selects = [serialize(database, f"SELECT ({text})", text, name)["node"] for text in known.definitions]
    return any(_opaque(node, name) for select in selects for node in walk(select["select_list"]))


def _opaque(node: Node, macro: str) -> bool:
    """Whether a node of a macro's definition reads tables or the clock, or calls a function that does."""
    if node.get("class") == "COLUMN_REF":
        return str(node["column_names"][0]).lower() in CLOCK_WORDS
    if node.get("class") != "FUNCTION":
        return node.get("class") == "SUBQUERY"
    name = function_name(node)
    # error() is volatile only by its label; current_schema stands for system.main.current_schema.
    return name in _SEVERAL_ROWS or (name not in {"error", macro} and _changes(node))
