"""``verify: constraints``: which constraints of its prompt a response satisfies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...contracts.errors import DataError
from ...contracts.operators import Apply, Context, Map
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from ..constraints.loose import holds_loosely
from ..constraints.of_rows import checks_of

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Which constraints of a row hold, strictly and loosely, in their order."""

    strict: list[bool]
    loose: list[bool]


def check_row(row: Row) -> Verdicts:
    """Check the row's ``response`` to its ``prompt``.

    Raises DataError, naming the column, if one is missing, is not text, or does not list constraints.
    """
    for column in ("prompt", "response"):
        if not isinstance(row.get(column), str):
            found = f"holds {type(row[column]).__name__}" if column in row else "is missing"
            raise DataError(
                f"column {column!r} {found}; rows come from `source: constraints` through `generate: respond`"
            )
    prompt, response = row["prompt"], row["response"]
    checks = checks_of(row)
    strict = [check.check(response, prompt) for check in checks]
    loose = [held or holds_loosely(check, response, prompt) for check, held in zip(checks, strict)]
    return Verdicts(strict, loose)


class VerifyConstraints(Map):
    """Checks which constraints of its prompt a response satisfies.

    It filters nothing: use ``keep: "passed"`` for that. A row whose constraints cannot be read fails.

    Reads:
        prompt (text): the prompt.
        response (text): response to check.
        constraints (text): JSON list of constraints, as `source: constraints` writes it.
        instruction_id_list, kwargs (lists): the same of an item of IFEval, instead of `constraints`.

    Adds:
        passed (bool): whether the response satisfies all constraints.
        passed_loose (bool): the same by IFEval's loose rules: each constraint is satisfied by the response or
            by what is left without its first line, its last line or its asterisks.
        passed_fraction (float64): share of the constraints that it satisfies.
        constraint_results (list of bools): which constraints it satisfies, in their order.

    Example:
        checked: {verify: constraints, from: answers}
    """

    version: ClassVar[int] = 2
    makes_rows: ClassVar[bool] = False

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, *self.types()]

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {
            "passed": pa.bool_(),
            "passed_loose": pa.bool_(),
            "passed_fraction": pa.float64(),
            "constraint_results": pa.list_(pa.bool_()),
        }

    def open(self, context: Context) -> Apply:
        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            return [[_outcome(row)] for row in rows]

        return apply


def _outcome(row: Row) -> Outcome:
    try:
        verdicts = check_row(row)
    except DataError as error:
        return Failed(str(error))
    return Kept(
        {
            "passed": all(verdicts.strict),
            "passed_loose": all(verdicts.loose),
            "passed_fraction": sum(verdicts.strict) / len(verdicts.strict),
            "constraint_results": verdicts.strict,
        }
    )
