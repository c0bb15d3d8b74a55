"""Boolean DuckDB SQL over the columns of a table, with ``quantile(q)`` as a threshold.

The expression is evaluated in its own database, which cannot reach files, the network, extensions or its own
settings. It must be a single deterministic expression without statements or sub-queries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from math import isnan
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ...contracts.counting import counted
from ...contracts.errors import DataError
from ...contracts.mistakes import Collected
from .sql_binding import AGGREGATE, Binding
from .sql_names import named_columns, refuse_clock_words, refuse_unknown_columns
from .sql_nan import nan_as_null
from .sql_parse import parse, refuse, tree_of
from .sql_process import LIMITS, Evaluation, QueryError, QueryLimits
from .sql_rows import Values, numbered, values_of
from .sql_tree import (
    TABLE,
    Node,
    arguments_of,
    conjuncts_of,
    function_name,
    parser,
    serialize,
    text_of,
    walk,
)
from .sql_types import readable

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray


class Decision(NamedTuple):
    """The decision about each row of a table.

    ``mask``: bool ``(rows,)``, true if the row is kept. ``rules``: None for kept rows; for others the first
    false part of the conjunction, ``"null"`` if no part is false and one is null, or ``"error"``. ``errors``:
    why a row could not be judged, per row; None if all rows could. ``summary``: ``expression``; ``rate``, the
    share kept; ``thresholds``, {column: value} of the (first) number it is compared with; ``bounds``, all of
    them as {column, op, value}; ``failed``, {rule: rows}.
    """

    mask: NDArray[np.bool_]
    rules: list[str | None]
    summary: dict[str, Any]
    errors: list[str | None] | None = None


def evaluate_expression(
    table: pa.Table, expression: str, check: Callable[[], None] = lambda: None, limits: QueryLimits = LIMITS
) -> Decision:
    """Decide which rows of ``table`` satisfy ``expression``.

    ``expression``: boolean DuckDB SQL over the table's columns. ``x > quantile(q)`` (on either side, and in
    BETWEEN) compares with the q-quantile of x over the whole table, linearly interpolated. ``quantile(y, q)``
    is the quantile of another expression. NaN counts as null, in columns and in computed values. A row whose
    expression is null is not kept. Window functions see the whole table. ``check``: called while waiting;
    raises to stop. ``limits``: the time and memory that the expression may use.

    Raises DataError if the expression is not one boolean expression, names an unknown column (the message
    suggests the nearest name) or a column of a type that DuckDB does not read, reaches outside the database,
    is not deterministic, or exceeds the limits. It also raises DataError if the expression fails for more
    than half of the rows, or for any row while the result of a row depends on other rows.
    """
    with parser() as database:
        tree = parse(database, expression, "keep")
        conjuncts = conjuncts_of(tree)
        rules = [text_of(database, conjunct) for conjunct in conjuncts]
        refuse_unknown_columns(conjuncts, table.column_names, expression, "keep")
        apart = not any(node.get("class") == "WINDOW" or _is_quantile(node) for node in walk(tree))
        looked_at = readable(table.select(named_columns(tree, table.column_names, "keep")), "keep")
        with Evaluation(numbered(looked_at, table.num_rows), check, limits) as evaluation:
            thresholds = _Thresholds(database, evaluation, expression, table.column_names)
            known = [nan_as_null(database, conjunct) for conjunct in conjuncts]
            wanted = [text_of(database, thresholds.put_in(conjunct)) for conjunct in known]
            with told(expression):
                values = values_of(evaluation, wanted, apart=apart)
            for rule, kind in zip(rules, evaluation.types[1:], strict=True):
                # DuckDB 1 calls a bare NULL an integer.
                if kind != "BOOLEAN" and rule.upper() != "NULL":
                    raise DataError(f"keep: '{rule}' is {kind}, not true or false: compare it with something")
    if 2 * len(values.errors) > table.num_rows:
        first = values.errors[min(values.errors)]
        raise DataError(
            f"keep: '{expression}' cannot be evaluated for {counted(len(values.errors), 'row')}: {first}"
        )
    return _decided(expression, rules, values, thresholds.bounds)


def _decided(expression: str, rules: list[str], values: Values, bounds: list[dict[str, Any]]) -> Decision:
    import numpy as np

    null = np.array([column.is_null().to_numpy() for column in values.columns])
    # A column of nulls may have any type.
    true = [column.cast("bool").fill_null(False).to_numpy() for column in values.columns]
    false = ~null & ~np.array(true)
    mask: NDArray[np.bool_] = np.logical_not(np.any(false | null, axis=0))
    names = [*rules, "null", "error", None]
    first = np.where(mask, -1, np.where(false.any(axis=0), false.argmax(axis=0), len(rules)))
    first[list(values.errors)] = len(rules) + 1
    counts = {names[i]: int((first == i).sum()) for i in range(len(names) - 1)}
    return Decision(
        mask,
        [names[i] for i in first.tolist()],
        {
            "expression": expression,
            "rate": float(mask.mean()) if len(mask) else 0.0,
            "thresholds": {bound["column"]: bound["value"] for bound in reversed(bounds)},
            "bounds": bounds,
            "failed": {rule: count for rule, count in counts.items() if count},
        },
        [_why(values, row) for row in range(len(mask))] if values.errors else None,
    )


def _why(values: Values, row: int) -> str | None:
    return f"keep: {values.errors[row]}" if row in values.errors else None


def columns_of(expression: str, columns: Sequence[str]) -> list[str]:
    """The columns that ``expression`` needs. Raises DataError as :func:`evaluate_expression` does."""
    with parser() as database:
        tree = parse(database, expression, "keep")
        refuse_unknown_columns(conjuncts_of(tree), columns, expression, "keep")
        return named_columns(tree, columns, "keep")


def check(expression: str, columns: Sequence[str] | None = None) -> None:
    """Raise DataError if ``expression`` is invalid, as far as that is known without a table.

    It is checked for its syntax, for functions that are unknown, read files or tables, or are not
    deterministic, and for names that are not in ``columns``, if those are known.
    """
    with parser() as database, Collected() as found:
        tree = tree_of(database, expression, "keep")
        with found.at():
            refuse(tree, expression, "keep")
        with found.at():
            if columns is None:
                refuse_clock_words(tree, expression, "keep")
            else:
                refuse_unknown_columns(conjuncts_of(tree), columns, expression, "keep")
                named_columns(tree, columns, "keep")


def check_types(expression: str, types: Mapping[str, pa.DataType]) -> None:
    """Raise DataError if ``expression`` does not fit columns of these Arrow ``types``.

    It shows nothing if the expression is invalid for another reason: see :func:`check`.
    """
    with parser() as database, Collected() as found:
        try:
            conjuncts = conjuncts_of(parse(database, expression, "keep"))
        except DataError:
            return
        binding = Binding(database, types)
        for conjunct in conjuncts:
            mistakes = list(binding.mistakes(conjunct))
            kind = None if mistakes else binding.kind(conjunct)
            if kind not in (None, "BOOLEAN", '"NULL"'):
                rule = text_of(database, conjunct)
                mistakes = [f"'{rule}' is {kind}, not true or false: compare it with something"]
            for mistake in mistakes:
                found.add(DataError(f"keep: {mistake}"))


@contextmanager
def told(expression: str) -> Iterator[None]:
    """The error for what DuckDB refuses, quoting the expression."""
    try:
        yield
    except QueryError as error:
        reason = AGGREGATE if "GROUP BY" in str(error) else str(error)
        raise DataError(f"keep: '{expression}' cannot be evaluated: {reason}") from error


def _is_quantile(node: Node) -> bool:
    return node.get("class") == "FUNCTION" and function_name(node) == "quantile"


class _Thresholds:
    """Replaces ``quantile`` by its value, and records every number that a column is compared with."""

    _OPERATORS: ClassVar[dict[str, tuple[str, str]]] = {
        "COMPARE_GREATERTHAN": (">", "<"),
        "COMPARE_GREATERTHANOREQUALTO": (">=", "<="),
        "COMPARE_LESSTHAN": ("<", ">"),
        "COMPARE_LESSTHANOREQUALTO": ("<=", ">="),
        "COMPARE_EQUAL": ("=", "="),
    }

    def __init__(
        self, database: DuckDBPyConnection, evaluation: Evaluation, expression: str, columns: Sequence[str]
    ) -> None:
        self.database, self.evaluation, self.expression = database, evaluation, expression
        self.columns = {name.lower() for name in columns}
        self.bounds: list[dict[str, Any]] = []

    def put_in(self, tree: Node) -> Node:
        """Return the tree with quantiles replaced by their values."""
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
        elif _is_quantile(tree):
            return self._quantile(tree, None)
        return {key: self._inside(value) for key, value in tree.items()}

    def _inside(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._inside(each) for each in value]
        return self.put_in(value) if isinstance(value, dict) else value

    def _side(self, side: Node, other: Node, operator: str) -> Node:
        """Return ``side`` with its quantile replaced; record the number that a column is compared with."""
        if _is_quantile(side):
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
                "keep: quantile(q) must be compared, as in 'score > quantile(0.2)'; found "
                f"'{self.expression}'"
            )
        share = self._value(arguments[-1], "SELECT ({})::DOUBLE")
        if share is None or not 0 <= share <= 1:
            raise DataError(
                f"keep: quantile takes a number from 0 to 1: found {share} in '{self.expression}'"
            )
        value = self._value(measured, f"SELECT quantile_cont(({{}})::DOUBLE, {share!r}) FROM {TABLE}")
        # Between -inf and inf it is NaN, which DuckDB sorts above all numbers.
        literal = "NULL" if value is None or isnan(value) else f"'{float(value)!r}'"
        statement = serialize(self.database, f"SELECT CAST({literal} AS DOUBLE)", self.expression, "keep")
        constant: Node = statement["node"]["select_list"][0]
        return constant

    def _value(self, tree: Node, query: str) -> Any:
        with told(self.expression):
            made = self.evaluation.query(query.format(text_of(self.database, tree)))
        return made.column(0)[0].as_py()
