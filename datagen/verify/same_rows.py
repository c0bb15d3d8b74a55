"""Whether two queries give the same rows of a database. Runs in a limited process.

The database is in memory, with one thread, without files, network, extensions or settings.
"""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "lock_configuration": "true",
    "temp_directory": "",
    "threads": "1",
}


class _Refused(Exception):
    """Why a query has no rows to compare."""


def compare(setup: str, query: str, reference: str, memory: int, most: int) -> dict[str, Any]:
    """Run ``setup``, then both queries.

    Returns ``invalid``: what is wrong with the setup or the reference, or ``reason``: why the query does not
    pass, None if it does. ``memory``: bytes. ``most``: maximum number of rows of a query.
    """
    with duckdb.connect(config={**_LOCKED, "memory_limit": f"{memory}B"}) as database:
        try:
            for statement in database.extract_statements(setup):
                database.execute(statement)
        except duckdb.Error as error:
            return {"invalid": f"the database cannot be made: {_first_line(error)}"}
        try:
            expected = _rows(database, reference, most)
            ordered = _orders(database, reference)
        except (_Refused, duckdb.Error) as error:
            return {"invalid": f"the reference cannot be run: {_first_line(error)}"}
        if not expected:
            return {"invalid": "the reference gives no rows, so any query without rows would pass"}
        try:
            found = _rows(database, query, most)
        except (_Refused, duckdb.Error) as error:
            return {"reason": _first_line(error)}
    return {"reason": _difference(found, expected, ordered)}


def _rows(database: DuckDBPyConnection, query: str, most: int) -> list[str]:
    """Return the rows of one SELECT, each as text that equal rows share."""
    statements = database.extract_statements(query)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise _Refused("it must be one SELECT statement")
    found = database.execute(statements[0]).fetchmany(most + 1)
    if len(found) > most:
        raise _Refused(f"it gives more than {most} rows")
    return [json.dumps([_canonical(value) for value in row]) for row in found]


def _canonical(value: Any) -> Any:
    """Return a value for JSON: numbers are equal whatever their type, and to 12 digits."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return {"number": str(value)}
    if isinstance(value, (float, Decimal)):
        exact = -(2**53) < value < 2**53 and value == int(value)
        return {"number": str(int(value)) if exact else f"{float(value):.12g}"}
    if isinstance(value, (list, tuple)):
        return [_canonical(each) for each in value]
    if isinstance(value, dict):
        return {"struct": [[str(key), _canonical(each)] for key, each in value.items()]}
    if isinstance(value, (datetime.date, datetime.time)):
        return {type(value).__name__: value.isoformat()}
    return {type(value).__name__: str(value)}


def _orders(database: DuckDBPyConnection, query: str) -> bool:
    """Whether the query itself, and not only a part of it, has an ORDER BY."""
    [told] = database.execute("SELECT json_serialize_sql($1::VARCHAR)", [query]).fetchall()
    statements = json.loads(told[0]).get("statements", [])
    modifiers = statements[0]["node"].get("modifiers", []) if statements else []
    return any(each["type"] == "ORDER_MODIFIER" for each in modifiers)


def _difference(found: list[str], expected: list[str], ordered: bool) -> str | None:
    if len(found) != len(expected):
        return f"it gives {len(found)} rows, expected {len(expected)}"
    if len(json.loads(found[0])) != len(json.loads(expected[0])):
        return f"it gives {len(json.loads(found[0]))} columns, expected {len(json.loads(expected[0]))}"
    if sorted(found) != sorted(expected):
        return "it gives other rows"
    return "it gives the rows in another order" if ordered and found != expected else None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
