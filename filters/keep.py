"""Decide which rows stay: an expression over the columns that scorers added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import StringConstraints

from ..pipelines.operator import Context, Verdicts, Whole
from .expression import check, evaluate_expression

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Keep", "check", "evaluate_expression"]


class Keep(Whole):
    """Keeps the rows for which a boolean DuckDB SQL expression is true.

    ``keep: "passed AND self_certainty > quantile(0.2)"``. See
    :func:`~gristmill.filters.expression.evaluate_expression` for what an expression may say. A row
    that goes is filtered with the part of the conjunction that it failed first as its rule, or
    ``null`` where a column it needs is null.
    """

    value_field: ClassVar[str | None] = "keep"

    keep: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]

    def apply(self, table: pa.Table, context: Context) -> Verdicts:
        """Judge all rows. Raises DataError where the expression does not fit the table."""
        decision = evaluate_expression(table, self.keep, context.check)
        return Verdicts(
            kept=decision.mask, rule=decision.rules, errors=decision.errors, summary=decision.summary
        )

    def inspect(self) -> None:
        check(self.keep)

    def check_columns(self, columns: Sequence[str]) -> None:
        check(self.keep, columns)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns
