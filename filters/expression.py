"""Boolean DuckDB SQL over the columns of a table, with ``quantile(q)`` as a threshold.

It runs in a database of its own that cannot reach files, the network, extensions or its own
settings, and it must be one expression: no statements, no sub-queries, nothing that changes from
call to call.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ..pipelines.errors import DataError
from .sql_tree import (
    TABLE,
    Node,
    arguments_of,
    conjuncts_of,
    function_name,
    locked_database,
    parse,
    refuse_unknown_columns,
    serialize,
    text_of,
    walk,
)

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

_ROW = "_row_number"


class Decision(NamedTuple):
    """``mask``: bool ``(rows,)``, true where the row is kept. ``rules``: for each other row the first
    part of the conjunction that is false, or ``"null"`` where none is false and one is null; None for
    kept rows. ``summary``: ``expression``; ``rate``, the share kept; ``thresholds``, {column: value}
    of the (first) number it is compared with; ``bounds``, all of them as {column, op, value};
    ``failed``, {rule: rows}.
    """

    mask: NDArray[np.bool_]
    rules: list[str | None]
    summary: dict[str, Any]


def evaluate_expression(table: pa.Table, expression: str) -> Decision:
    """Which rows of ``table`` satisfy ``expression``.

    ``expression``: boolean DuckDB SQL over the table's columns. ``x > quantile(q)`` (either way
    round, and in BETWEEN) compares with the q-quantile of x over the whole table, linearly
    interpolated; ``quantile(y, q)`` is that of another expression. Nulls and NaN count as null; a row
    whose expression is null is not kept. Window functions see the whole table.

    Raises DataError where the expression is not one boolean expression, names an unknown column
    (with the nearest name), reaches outside, is not deterministic, or fails on a value.
    """
    import numpy as np

    with locked_database() as database:
        tree = parse(database, expression)
        conjuncts = conjuncts_of(tree)
        rules = [text_of(database, conjunct) for conjunct in conjuncts]
        refuse_unknown_columns(conjuncts, table.column_names, expression)
        database.register(TABLE, _numbered(table))
        thresholds = _Thresholds(database, expression, table.column_names)
        wanted = ", ".join(f"({text_of(database, thresholds.put_in(conjunct))})" for conjunct in conjuncts)
        result = _run(database, f"SELECT {_ROW}, {wanted} FROM {TABLE}", expression)
        for rule, (_, kind, *_) in zip(rules, (result.description or [])[1:]):
            if str(kind).upper() not in {"BOOLEAN", "BOOL", '"NULL"', "NULL"}:
                raise DataError(f"keep: '{rule}' is {kind}, not true or false: compare it with something")
        arrays = list(result.fetchnumpy().values())

    # Window functions may hand rows back in another order, so every row carries its number.
    order = np.asarray(arrays[0], dtype=np.int64)
    false = np.zeros((len(conjuncts), table.num_rows), dtype=bool)
    null = np.zeros_like(false)
    for index, values in enumerate(arrays[1:]):
        missing = np.broadcast_to(getattr(values, "mask", False), values.shape)
        null[index, order] = missing
        false[index, order] = ~missing & ~np.asarray(values).astype(bool)
    mask: NDArray[np.bool_] = np.logical_not(np.any(false | null, axis=0))
    names = [*rules, "null", None]
    first = np.where(mask, -1, np.where(false.any(axis=0), false.argmax(axis=0), len(rules)))
    counts = {names[i]: int((first == i).sum()) for i in range(len(rules) + 1)}
    return Decision(
        mask,
        [names[i] for i in first.tolist()],
        {
            "expression": expression,
            "rate": float(mask.mean()) if len(mask) else 0.0,
            "thresholds": {bound["column"]: bound["value"] for bound in reversed(thresholds.bounds)},
            "bounds": thresholds.bounds,
            "failed": {rule: count for rule, count in counts.items() if count},
        },
    )


def check(expression: str) -> None:
    """Raise DataError where ``expression`` is not one expression by its syntax (no table is needed)."""
    with locked_database() as database:
        parse(database, expression)


def _numbered(table: pa.Table) -> pa.Table:
    """The table with row numbers, and with null for NaN (which DuckDB takes for the largest number)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for index, column in enumerate(table.schema):
        if pa.types.is_floating(column.type):
            values = table.column(index)
            cleaned = pc.if_else(pc.is_nan(values), pa.scalar(None, column.type), values)
            table = table.set_column(index, column, cleaned)
    return table.append_column(_ROW, pa.array(range(table.num_rows), pa.int64()))


def _run(database: DuckDBPyConnection, query: str, expression: str) -> DuckDBPyConnection:
    import duckdb

    try:
        return database.execute(query)
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        if "GROUP BY" in reason:
            reason = "an aggregate over all rows needs OVER (), as in 'x > avg(x) OVER ()'"
        raise DataError(f"keep: '{expression}' cannot be evaluated: {reason}") from error


class _Thresholds:
    """Replaces ``quantile`` by its value, and notes every number that a column is compared with."""

    _OPERATORS: ClassVar[dict[str, tuple[str, str]]] = {
        "COMPARE_GREATERTHAN": (">", "<"),
        "COMPARE_GREATERTHANOREQUALTO": (">=", "<="),
        "COMPARE_LESSTHAN": ("<", ">"),
        "COMPARE_LESSTHANOREQUALTO": ("<=", ">="),
        "COMPARE_EQUAL": ("=", "="),
    }

    def __init__(self, database: DuckDBPyConnection, expression: str, columns: Sequence[str]) -> None:
        self.database, self.expression = database, expression
        self.columns = {name.lower() for name in columns}
        self.bounds: list[dict[str, Any]] = []

    def put_in(self, tree: Node) -> Node:
        """The tree with values in place of quantiles."""
        if tree.get("class") == "COMPARISON":
            left, right = tree["left"], tree["right"]
            forward, backward = self._OPERATORS.get(tree["type"], ("", ""))
            tree = {
                **tree,
                "right": self._side(right, left, forward),
                "left": self._side(left, right, backward),
            }
        elif tree.get("class") == "BETWEEN":
            measured = tree["input"]
            lower = self._side(tree["lower"], measured, ">=")
            tree = {**tree, "lower": lower, "upper": self._side(tree["upper"], measured, "<=")}
        elif tree.get("class") == "FUNCTION" and function_name(tree) == "quantile":
            return self._quantile(tree, None)
        return {key: self._inside(value) for key, value in tree.items()}

    def _inside(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._inside(each) for each in value]
        return self.put_in(value) if isinstance(value, dict) else value

    def _side(self, side: Node, other: Node, operator: str) -> Node:
        """``side`` with its quantile put in; where it is a number that a column is held against, noted."""
        if side.get("class") == "FUNCTION" and function_name(side) == "quantile":
            side = self._quantile(side, other)
        name = ".".join(other.get("column_names", []))
        is_column = name.split(".")[0].lower() in self.columns
        if operator and is_column and not any("column_names" in node for node in walk(side)):
            value = self._value(side, "SELECT {}")
            if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
                self.bounds.append({"column": name, "op": operator, "value": float(value)})
        return side

    def _quantile(self, call: Node, other: Node | None) -> Node:
        arguments = arguments_of(call)
        measured = arguments[0] if len(arguments) == 2 else other
        if measured is None or len(arguments) not in (1, 2):
            raise DataError(
                f"keep: quantile(q) stands beside a comparison, as in 'score > quantile(0.2)'; found '{self.expression}'"
            )
        share = self._value(arguments[-1], "SELECT ({})::DOUBLE")
        if share is None or not 0 <= share <= 1:
            raise DataError(f"keep: quantile takes a share from 0 to 1: found {share} in '{self.expression}'")
        value = self._value(measured, f"SELECT quantile_cont(({{}})::DOUBLE, {share!r}) FROM {TABLE}")
        literal = "NULL" if value is None else f"'{float(value)!r}'"
        statement = serialize(self.database, f"SELECT CAST({literal} AS DOUBLE)", self.expression)
        constant: Node = statement["node"]["select_list"][0]
        return constant

    def _value(self, tree: Node, query: str) -> Any:
        filled = query.format(text_of(self.database, tree))
        [(value,)] = _run(self.database, filled, self.expression).fetchall()
        return value
