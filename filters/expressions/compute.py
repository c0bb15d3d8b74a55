"""``compute:`` adds columns computed by SQL expressions over the columns of a row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import BeforeValidator, Field, field_validator

from ...contracts.context import Context
from ...contracts.errors import DataError
from ...contracts.mistakes import Collected
from ...contracts.operators import TableApply, TableMap
from ...contracts.outcomes import TableResult
from .sql_binding import Binding
from .sql_functions import is_aggregate
from .sql_names import named_columns, refuse_clock_words, refuse_unknown_columns
from .sql_nan import nan_as_null
from .sql_parse import names_in, parse, tree_of
from .sql_process import LIMITS, Evaluation, QueryError, QueryLimits
from .sql_rows import numbered, values_of
from .sql_tree import Node, parser, text_of, walk
from .sql_types import readable, unstorable
from .written_values import number_as_sql

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection


class Compute(TableMap):
    """Adds columns that SQL expressions compute from each row.

    For example ``compute: {gain: "with_hint - without", title: "upper(name)"}``.

    Each row is computed on its own: aggregates, window functions and ``quantile`` are refused. See ``keep``
    for what an expression may contain. If a value cannot be computed, only its row fails.

    Example:
        measured: {compute: {gain: "revision_pass_rate - blind_pass_rate"}, from: revised}
    """

    value_field: ClassVar[str | None] = "columns"

    columns: dict[
        str, Annotated[str, BeforeValidator(number_as_sql, json_schema_input_type=str | bool | int | float)]
    ] = Field(min_length=1)
    """Columns to add or replace, and the DuckDB SQL expression of each over the row's other columns."""

    @field_validator("columns")
    @classmethod
    def _named(cls, columns: dict[str, str]) -> dict[str, str]:
        for name in columns:
            if not name or name.startswith("_"):
                raise ValueError(
                    f"a column name must not start with '_' (reserved for the runner): found {name!r}"
                )
        return columns

    def open(self, context: Context) -> TableApply:
        def apply(table: pa.Table) -> TableResult:
            return computed(table, self.columns, context.check)

        return apply

    def names_columns(self) -> Iterable[str]:
        return names_in(self.columns.values())

    def inspect(self) -> None:
        with parser() as database, Collected() as found:
            for name, expression in self.columns.items():
                with found.at("columns", name):
                    refuse_clock_words(_parsed(database, name, expression), expression, _who(name))

    def check_columns(self, columns: Sequence[str]) -> None:
        with parser() as database, Collected() as found:
            for name, expression in self.columns.items():
                with found.at("columns", name):
                    tree = tree_of(database, expression, _who(name))
                    _refuse_unknown(tree, self.columns, columns, expression, name)

    def check_types(self, types: Mapping[str, pa.DataType]) -> None:
        with parser() as database, Collected() as found:
            binding = Binding(database, types)
            for name, tree in self._trees(database).items():
                mistakes = list(binding.mistakes(tree))
                kind = None if mistakes else binding.arrow_type(tree)
                if kind is not None and (held := unstorable(kind)) is not None:
                    mistakes = [f"'{self.columns[name]}' gives {held}"]
                for mistake in mistakes:
                    found.add(DataError(f"{_who(name)}: {mistake}"), "columns", name)

    def derived_from(self, column: str) -> Iterable[str]:
        return names_in([self.columns[column]])

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, *self.columns]

    def makes_types(self, types: Mapping[str, pa.DataType]) -> Mapping[str, pa.DataType]:
        with parser() as database:
            binding = Binding(database, types)
            made = {name: binding.arrow_type(tree) for name, tree in self._trees(database).items()}
        return {name: kind for name, kind in made.items() if kind is not None}

    def _trees(self, database: DuckDBPyConnection) -> dict[str, Node]:
        """The trees of those expressions that are valid."""
        trees = {}
        for name, expression in self.columns.items():
            with suppress(DataError):
                trees[name] = _parsed(database, name, expression)
        return trees


def computed(
    table: pa.Table,
    columns: dict[str, str],
    check: Callable[[], None] = lambda: None,
    limits: QueryLimits = LIMITS,
) -> TableResult:
    """Compute one column per expression, and find the rows for which an expression fails.

    ``check``: called while waiting; raises to stop. ``limits``: the time and memory that the expressions may
    use.

    Raises DataError if a text is not an expression over the table's columns, reads other rows, gives a value
    that cannot be stored, or fails for every row.
    """
    trees, written = [], []
    with parser() as database:
        for name, expression in columns.items():
            tree = _parsed(database, name, expression)
            _refuse_unknown(tree, columns, table.column_names, expression, name)
            trees.append(tree)
            written.append(text_of(database, nan_as_null(database, tree)))
    rows = table.num_rows
    looked_at = readable(table.select(named_columns(trees, table.column_names, "compute")), "compute")
    looked_at = numbered(looked_at, rows)
    try:
        with Evaluation(looked_at, check, limits) as evaluation:
            values = values_of(evaluation, written, apart=True)
    except QueryError as error:
        reason = "an aggregate looks at other rows" if "GROUP BY" in str(error) else str(error)
        raise DataError(f"compute: {columns}: {reason}") from error
    for (name, expression), column in zip(columns.items(), values.columns, strict=True):
        if (held := unstorable(column.type)) is not None:
            raise DataError(f"{_who(name)}: '{expression}' gives {held}")
    errors: list[str | None] | None = [None] * rows if values.errors else None
    for row, why in values.errors.items():
        assert errors is not None
        errors[row] = f"compute: {why}"
    return TableResult(columns=dict(zip(columns, values.columns, strict=True)), errors=errors)


def _refuse_unknown(
    tree: Node, made: Collection[str], there: Sequence[str], expression: str, name: str
) -> None:
    """Raise DataError if an expression uses a missing column, or a column that the same step computes."""
    known = {column.lower() for column in there}
    for column in made:
        if column.lower() not in known and named_columns(tree, [column], "compute"):
            raise DataError(
                f"{_who(name)}: '{column}' is made by the same `compute`, whose "
                "expressions see only the incoming columns: compute it in an earlier step; found "
                f"'{expression}'"
            )
    refuse_unknown_columns([tree], there, expression, _who(name))


def _who(name: str) -> str:
    return f"compute, column {name!r}"


def _parsed(database: DuckDBPyConnection, name: str, expression: str) -> Node:
    tree = parse(database, expression, _who(name))
    if any(node.get("class") == "WINDOW" or is_aggregate(node) for node in walk(tree)):
        raise DataError(f"{_who(name)}: '{expression}' looks at other rows")
    return tree
