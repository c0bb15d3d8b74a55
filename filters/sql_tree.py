"""One boolean SQL expression as DuckDB's own syntax tree: parsed, refused, taken apart, written again.

The tree is what ``json_serialize_sql`` gives, so nothing here works on the expression's text, and
a quote, a comment or a bracket in it means what it means to DuckDB.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..pipelines.errors import DataError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: The name of the table that an expression is about.
TABLE = "rows"
_PLACES = frozenset({"query_location", "query_location_length"})
_LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "lock_configuration": "true",
}

#: A node of the syntax tree, as its JSON has it.
Node = dict[str, Any]


def locked_database() -> DuckDBPyConnection:
    """A database in memory that reaches no files, network or extensions, nor its own settings."""
    import duckdb

    return duckdb.connect(config=_LOCKED)


def parse(database: DuckDBPyConnection, expression: str) -> Node:
    """The tree of the expression.

    Raises DataError where it is not exactly one expression by its syntax, holds a sub-query or ``*``,
    or calls a function whose answer changes from call to call.
    """
    if not expression.strip():
        raise DataError('keep needs an expression, such as "passed AND score > 0.5"')
    # The line break ends a trailing comment, which would hide the bracket.
    statement = serialize(database, f"SELECT ({expression}\n) FROM {TABLE}", expression)
    plain = serialize(database, f"SELECT (true) FROM {TABLE}", expression)
    selected = statement["node"].get("select_list", [])
    for each in (statement, plain):
        each["node"]["select_list"] = []
    if len(selected) != 1 or _without_places(statement) != _without_places(plain):
        raise DataError(f"keep takes one expression, not a query: found '{expression}'")
    tree: Node = selected[0]
    volatile = {
        name
        for (name,) in database.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'"
        ).fetchall()
    }
    for node in walk(tree):
        if node.get("class") == "SUBQUERY":
            raise DataError(
                f"keep takes no sub-query (write 'avg(x) OVER ()' for a total): found '{expression}'"
            )
        if node.get("class") == "STAR":
            raise DataError(f"keep needs its columns by name, not '*': found '{expression}'")
        if node.get("class") == "FUNCTION" and function_name(node) in volatile:
            raise DataError(f"keep must give the same rows every time, and {function_name(node)}() does not")
    return tree


def serialize(database: DuckDBPyConnection, query: str, expression: str) -> Node:
    """The tree of the statement. Raises DataError, which quotes ``expression``, where it is none."""
    [(source,)] = database.execute("SELECT json_serialize_sql(?)", [query]).fetchall()
    parsed = json.loads(source)
    if parsed["error"] or len(parsed["statements"]) != 1:
        reason = parsed.get("error_message", "more than one statement")
        raise DataError(f"keep: '{expression}' is not a DuckDB SQL expression: {reason}")
    statement: Node = parsed["statements"][0]
    return statement


def text_of(database: DuckDBPyConnection, tree: Node) -> str:
    """The expression of a tree, as DuckDB writes it, without brackets around the whole."""
    statement = serialize(database, "SELECT true", "")
    statement["node"]["select_list"] = [tree]
    source = json.dumps({"error": False, "statements": [statement]})
    [(query,)] = database.execute("SELECT json_deserialize_sql(?::JSON)", [source]).fetchall()
    text = str(query).removeprefix("SELECT ").strip()
    return text[1:-1] if _bracketed(text) else text


def _bracketed(text: str) -> bool:
    """Does the first bracket close at the very end? Text in quotes is not looked into."""
    depth, quote = 0, ""
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "()":
            depth += 1 if character == "(" else -1
            if depth == 0:
                return text[0] == "(" and place == len(text) - 1
        elif depth == 0:
            return False
    return False


def conjuncts_of(tree: Node) -> list[Node]:
    """The parts of ``a AND b AND c``, in order; the tree itself where it is no conjunction."""
    if tree.get("type") == "CONJUNCTION_AND":
        return [part for child in tree["children"] for part in conjuncts_of(child)]
    return [tree]


def walk(tree: object) -> Iterator[Node]:
    """Every node of a tree, or of a list of trees, from the top."""
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from walk(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from walk(value)


def _without_places(tree: object) -> object:
    if isinstance(tree, dict):
        return {key: _without_places(value) for key, value in tree.items() if key not in _PLACES}
    return [_without_places(value) for value in tree] if isinstance(tree, list) else tree


def refuse_unknown_columns(conjuncts: list[Node], columns: Sequence[str], expression: str) -> None:
    """Raise DataError, with the nearest name, where a name is neither a column nor a lambda's own."""
    known = {name.lower() for name in columns} | {TABLE}
    for node in walk(conjuncts):
        if node.get("class") == "LAMBDA":
            known |= {name.lower() for part in walk(node["lhs"]) for name in part.get("column_names", [])}
    for node in walk(conjuncts):
        name = node["column_names"][0] if node.get("class") == "COLUMN_REF" else None
        if name is not None and name.lower() not in known:
            near = difflib.get_close_matches(name, columns, n=1, cutoff=0.5)
            raise DataError(
                f"keep: no column '{name}' in '{expression}'"
                + (f"; did you mean '{near[0]}'?" if near else " (text goes in single quotes)")
                + f" The columns are: {', '.join(columns)}"
            )


def function_name(node: Node) -> str:
    """The name a FUNCTION node calls, in lower case."""
    return str(node.get("function_name", "")).lower()


def arguments_of(node: Node) -> list[Node]:
    """A function's arguments (DuckDB 1 lists them plainly, DuckDB 2 each with its name)."""
    found: list[Node] = node["arguments"] if "arguments" in node else node["children"]
    return [argument.get("expression", argument) for argument in found]
