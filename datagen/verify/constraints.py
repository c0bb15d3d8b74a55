"""``verify: constraints``: which constraints of its prompt a response satisfies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from ...contracts.errors import DataError
from ...contracts.operators import Apply, Context, Failed, Kept, Map, Outcome
from ...contracts.rows import Row
from ..constraints.kinds import constraints_from

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("prompt", "response", "constraints")


def check_row(row: Row) -> list[bool]:
    """Return one verdict per constraint, in the order of the row's ``constraints``.

    Raises DataError, naming the column, if one is missing, is not text, or does not list constraints.
    """
    for column in COLUMNS:
        if not isinstance(row.get(column), str):
            found = f"holds {type(row[column]).__name__}" if column in row else "is missing"
            raise DataError(
                f"column {column!r} {found}; rows come from `source: constraints` through `generate: respond`"
            )
    constraints = constraints_from(row["constraints"])
    return [constraint.check(row["response"], row["prompt"]) for constraint in constraints]


class VerifyConstraints(Map):
    """Checks which constraints of its prompt a response satisfies.

    It filters nothing: use ``keep: "passed"`` for that. A row whose constraints cannot be read fails.

    Reads:
        prompt (text): the prompt.
        response (text): response to check.
        constraints (text): JSON list of constraints, as `source: constraints` writes it.

    Adds:
        passed (bool): whether the response satisfies all constraints.
        passed_fraction (float64): share of the constraints that it satisfies.
        constraint_results (list of bools): which constraints it satisfies, in their order.

    Example:
        checked: {verify: constraints, from: answers}
    """

    makes_rows: ClassVar[bool] = False

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, *self.types()]

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {
            "passed": pa.bool_(),
            "passed_fraction": pa.float64(),
            "constraint_results": pa.list_(pa.bool_()),
        }

    def open(self, context: Context) -> Apply:
        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            return [[_outcome(row)] for row in rows]

        return apply


def _outcome(row: Row) -> Outcome:
    try:
        results = check_row(row)
    except DataError as error:
        return Failed(str(error))
    return Kept(
        {
            "passed": all(results),
            "passed_fraction": sum(results) / len(results),
            "constraint_results": results,
        }
    )
