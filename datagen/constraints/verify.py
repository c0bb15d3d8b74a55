"""``verify: constraints``: which of its prompt's constraints a response keeps."""

from __future__ import annotations

from typing import Any, ClassVar

from ...pipelines.errors import DataError
from ...pipelines.operator import Apply, Context, Kept, Map, Outcome
from ...pipelines.records import Row
from .kinds import constraints_from

COLUMNS = ("prompt", "response", "constraints")


def check_row(row: Row, step: str) -> list[bool]:
    """One verdict a constraint, in the order of the row's ``constraints``.

    Raises DataError, naming the step and the column, where a column is missing or is not text.
    """
    for column in COLUMNS:
        if not isinstance(row.get(column), str):
            found = f"holds {type(row[column]).__name__}" if column in row else "is missing"
            raise DataError(
                f"step {step!r}: column {column!r} {found} (row {row.get('_id', '?')}); "
                "rows come from `source: constraints` through `generate: respond`"
            )
    try:
        constraints = constraints_from(row["constraints"])
    except DataError as error:
        raise DataError(f"step {step!r}, row {row.get('_id', '?')}: {error}") from None
    return [constraint.check(row["response"], row["prompt"]) for constraint in constraints]


class VerifyConstraints(Map):
    """Checks which constraints of its prompt a response keeps.

    It filters nothing: ``keep: "passed"`` does that.

    Reads:
        prompt (text): the prompt.
        response (text): response to check.
        constraints (text): JSON list of constraints, as `source: constraints` writes it.

    Adds:
        passed (bool): whether the response keeps all constraints.
        passed_fraction (float64): share of the constraints that it keeps.
        constraint_results (list of bools): which constraints it keeps, in their order.

    Example:
        checked: {verify: constraints, from: answers}
    """

    makes: ClassVar[bool] = False

    def open(self, context: Context) -> Apply:
        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            return [[Kept(self._judged(check_row(row, context.step)))] for row in rows]

        return apply

    @staticmethod
    def _judged(results: list[bool]) -> dict[str, Any]:
        return {
            "passed": all(results),
            "passed_fraction": sum(results) / len(results),
            "constraint_results": results,
        }
