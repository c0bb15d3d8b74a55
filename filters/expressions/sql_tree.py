"""SQL expressions as DuckDB syntax trees: parsed, checked, split and written back.

The tree is the output of ``json_serialize_sql``. Nothing here works on the text of an expression, so quotes,
comments and brackets mean what they mean to DuckDB.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from ...contracts.errors import DataError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: The name of the table in an expression.
TABLE = "rows"
#: Maximum length of an expression in characters, and maximum depth of the JSON of its tree.
LONGEST, DEEPEST = 20_000, 240
#: Words that read the clock, unless a column has that name.
CLOCK_WORDS = frozenset({"current_timestamp", "current_date", "current_time", "localtime", "localtimestamp"})
_PLACES = frozenset({"query_location", "query_location_length"})
_LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "lock_configuration": "true",
    "temp_directory": "",
    # Several threads may add numbers in varying order.
    "threads": "1",
}

#: A node of the syntax tree, as in its JSON.
Node = dict[str, Any]


class NotSql(DataError):
    """A text that DuckDB cannot parse: ``reason``, and the ``byte`` where it says it is."""

    def __init__(self, who: str, expression: str, reason: str, byte: int | None = None) -> None:
        super().__init__(f"{who}: '{expression}' is not a DuckDB SQL expression: {reason}")
        self.reason, self.byte = reason, byte


def locked_database(memory: int = 1 << 30) -> DuckDBPyConnection:
    """Open an in-memory database without access to files, network, extensions or its own settings.

    ``memory``: its limit in bytes.
    """
    import duckdb

    return duckdb.connect(config={**_LOCKED, "memory_limit": f"{memory}B"})


@cache
def _shared(process: int) -> DuckDBPyConnection:
    """The database for parsing of the process with this id; a fork opens its own."""
    return locked_database()


def parser() -> DuckDBPyConnection:
    """Context manager: a connection for parsing. It is reused, as opening a database is slower than
    parsing."""
    return _shared(os.getpid()).cursor()


def _selected(database: DuckDBPyConnection, text: str, expression: str, who: str) -> Node | None:
    """Return what ``SELECT text`` selects; None if it is not exactly one value."""
    statement = serialize(database, f"SELECT {text} FROM {TABLE}", expression, who)
    plain = serialize(database, f"SELECT (true) FROM {TABLE}", expression, who)
    selected: list[Node] = statement["node"].get("select_list", [])
    for each in (statement, plain):
        each["node"]["select_list"] = []
        each.pop("named_param_map", None)
    alone = len(selected) == 1 and without_places(statement) == without_places(plain)
    return selected[0] if alone else None


def serialize(database: DuckDBPyConnection, query: str, expression: str, who: str) -> Node:
    """Return the tree of the statement. Raises DataError, which quotes ``expression``, if it is invalid."""
    [(source,)] = database.execute("SELECT json_serialize_sql(?)", [query]).fetchall()
    parsed = json.loads(source)
    if parsed["error"] or len(parsed["statements"]) != 1:
        reason = str(parsed.get("error_message", "more than one statement")).splitlines()[0]
        place = str(parsed.get("position", ""))
        raise NotSql(who, expression, reason, int(place) if place.isdigit() else None)
    statement: Node = parsed["statements"][0]
    return statement


def text_of(database: DuckDBPyConnection, tree: Node) -> str:
    """Return the text of a tree as DuckDB writes it, without enclosing brackets."""
    statement = serialize(database, "SELECT true", "", "")
    statement["node"]["select_list"] = [tree]
    source = json.dumps({"error": False, "statements": [statement]})
    [(query,)] = database.execute("SELECT json_deserialize_sql(?::JSON)", [source]).fetchall()
    text = str(query).removeprefix("SELECT ").strip()
    return text[1:-1] if _bracketed(text) else text


def _bracketed(text: str) -> bool:
    """Whether the first bracket closes at the very end. Quoted text is skipped."""
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
    """Return the parts of ``a AND b AND c``, in order; the tree itself if it is not a conjunction."""
    if tree.get("type") == "CONJUNCTION_AND":
        return [part for child in tree["children"] for part in conjuncts_of(child)]
    return [tree]


def walk(tree: object) -> Iterator[Node]:
    """Yield every node of a tree, or of a list of trees, from the top."""
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from walk(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from walk(value)


def without_places(tree: object) -> object:
    if isinstance(tree, dict):
        return {key: without_places(value) for key, value in tree.items() if key not in _PLACES}
    return [without_places(value) for value in tree] if isinstance(tree, list) else tree


def function_name(node: Node) -> str:
    """Return the name that a FUNCTION node calls, in lower case."""
    return str(node.get("function_name", "")).lower()


def arguments_of(node: Node) -> list[Node]:
    """Return a function's arguments (DuckDB 1 lists them plainly, DuckDB 2 with names)."""
    found: list[Node] = node["arguments"] if "arguments" in node else node["children"]
    return [argument.get("expression", argument) for argument in found]


def text_literal(node: Node) -> str | None:
    """Return the text of a text constant; None for other nodes. DuckDB 1 and 2 write it differently."""
    if node.get("class") != "CONSTANT":
        return None
    text = node["literal"].get("text") if "literal" in node else node["value"].get("value")
    return text if isinstance(text, str) else None
