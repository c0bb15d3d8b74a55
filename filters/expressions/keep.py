"""``keep:`` keeps the rows that satisfy an expression over their columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import StringConstraints

from ...contracts.operators import Context, TableResult, WholeTable
from .condition import check, evaluate_expression

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Keep", "check", "evaluate_expression"]


class Keep(WholeTable):
    """Keeps the rows for which a condition over their columns is true.

    The condition is one DuckDB SQL expression of at most 20,000 characters, without statements or
    sub-queries. ``x > quantile(0.2)`` compares with the 0.2-quantile of x over the whole table. NaN counts as
    null. Functions that are not deterministic are refused.

    Filters:
        the first part of the conjunction that is false: the row does not satisfy it.
        null: a column that the expression needs is null.

    Example:
        kept: {keep: "passed AND self_certainty > quantile(0.2)", from: scored}
    """

    value_field: ClassVar[str | None] = "keep"

    keep: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    """Condition: a boolean DuckDB SQL expression over the columns."""

    def apply(self, table: pa.Table, context: Context) -> TableResult:
        """Judge all rows. Raises DataError if the expression does not fit the table."""
        decision = evaluate_expression(table, self.keep, context.check)
        return TableResult(
            kept=decision.mask, rule=decision.rules, errors=decision.errors, summary=decision.summary
        )

    def inspect(self) -> None:
        check(self.keep)

    def check_columns(self, columns: Sequence[str]) -> None:
        check(self.keep, columns)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns
