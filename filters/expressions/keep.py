"""``keep:`` keeps the rows that satisfy an expression over their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import BeforeValidator, Field, StringConstraints

from ...contracts.context import Context
from ...contracts.mistakes import at
from ...contracts.operators import WholeTable
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows
from ..calibrate import precision
from ..calibrate.calibrate import CONFIDENCE
from .condition import Decision, check, check_types, columns_of, evaluate_expression
from .sql_parse import names_in
from .written_values import boolean_as_sql

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Keep", "check", "decide", "evaluate_expression"]


class Keep(WholeTable):
    """Keeps the rows for which a condition over their columns is true.

    The condition is one DuckDB SQL expression of at most 20,000 characters, without statements or
    sub-queries. ``x > quantile(0.2)`` compares with the 0.2-quantile of x over the whole table. NaN counts as
    null. Functions that are not deterministic are refused.

    After a `calibrate` step, ``precision >= 0.95`` keeps the rows from the lowest confidence at which the
    held-out labels show this precision, with a one-sided bound (Learn then Test, Angelopoulos et al., 2021).
    If they do not show it at any confidence, the step stops and says how many labels would settle it.

    Filters:
        the first part of the conjunction that is false: the row does not satisfy it.
        null: a column that the expression needs is null.

    Example:
        kept: {keep: "passed AND self_certainty > quantile(0.2)", from: scored}
    """

    value_field: ClassVar[str | None] = "keep"

    keep: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1),
        BeforeValidator(boolean_as_sql, json_schema_input_type=str | bool),
    ]
    """Condition: a boolean DuckDB SQL expression over the columns, or `precision >= P` after `calibrate`."""
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Level of the one-sided bound of `precision >= P`, 0 to 1: the probability that the promise holds."""

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Judge all rows. Raises DataError if the expression does not fit the table."""
        names = rows.column_names
        target = precision.promised(self.keep, names)
        needed = columns_of(self.keep, names) if target is None else precision.columns_for(names)
        table = rows.table(needed or ["_id"])  # of no column, the number of rows would be lost
        decision = decide(table, self.keep, self.level, context.check)
        score = None if target is None else table.column(CONFIDENCE).cast("float64").to_numpy()
        return TableResult(
            kept=decision.mask,
            rule=decision.rules,
            score=score,
            errors=decision.errors,
            summary=decision.summary,
        )

    def names_columns(self) -> Iterable[str]:
        return () if precision.promised(self.keep) is not None else names_in([self.keep])

    def inspect(self) -> None:
        if precision.promised(self.keep) is None:
            with at("keep"):
                check(self.keep)

    def check_columns(self, columns: Sequence[str]) -> None:
        if precision.promised(self.keep, columns) is None:
            with at("keep"):
                check(self.keep, columns)

    def check_types(self, types: Mapping[str, pa.DataType]) -> None:
        if precision.promised(self.keep) is None:
            with at("keep"):
                check_types(self.keep, types)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns


def decide(
    table: pa.Table, expression: str, level: float = 0.95, check: Callable[[], None] = lambda: None
) -> Decision:
    """Decide which rows of ``table`` are kept, by a condition or by ``precision >= P`` at ``level``.

    Raises DataError as :func:`evaluate_expression` does, or if no cutoff is shown to have the precision.
    """
    target = precision.promised(expression, table.column_names)
    if target is None:
        return evaluate_expression(table, expression, check)
    return precision.keep_by_precision(table, target, level)
