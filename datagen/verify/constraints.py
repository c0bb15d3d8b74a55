"""``verify: constraints``: which constraints of its prompt a response satisfies."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from ...contracts.context import Context
from ...contracts.errors import DataError
from ...contracts.operators import Apply, Map
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from ..constraints.of_rows import checks_of
from ..constraints.verdicts import Verdicts, judge, judge_written
from ..execution.limited_processes import CallLimitReached, shared

if TYPE_CHECKING:
    import pyarrow as pa

    from ..constraints.check import Check


#: Processor seconds and bytes for the verdicts on a response by patterns that may backtrack.
SECONDS, MEMORY = 5, 1 << 30


def readable(row: Row) -> list[Check]:
    """Return the checks of a row whose ``response`` to its ``prompt`` can be judged.

    Raises DataError, naming the column, if one is missing, is not text, or does not list constraints.
    """
    for column in ("prompt", "response"):
        if not isinstance(row.get(column), str):
            found = f"holds {type(row[column]).__name__}" if column in row else "is missing"
            raise DataError(
                f"column {column!r} {found}; rows come from `source: constraints` through `generate: respond`"
            )
    return checks_of(row)


async def verdicts_of(row: Row) -> Verdicts:
    """Return which constraints of a row hold.

    Patterns that may backtrack are matched in another process. Raises DataError as :func:`readable` does, and
    if they take too long.
    """
    checks = readable(row)
    if all(check.bounded for check in checks):
        return judge(checks, row["response"], row["prompt"])
    processes = shared(judge_written.__module__, judge_written.__name__, seconds=SECONDS, memory=MEMORY)
    written = [check.arguments() for check in checks]
    try:
        told = await processes.call(checks=written, response=row["response"], prompt=row["prompt"])
    except CallLimitReached as reached:
        raise DataError(f"its constraints cannot be judged: {reached.message}") from None
    return Verdicts(**told)


class VerifyConstraints(Map):
    """Checks which constraints of its prompt a response satisfies.

    It filters nothing: use ``keep: "passed"`` for that. A row whose constraints cannot be read, or whose
    keywords are patterns that take too long, fails.

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
            return [[each] for each in await asyncio.gather(*map(_outcome, rows))]

        return apply


async def _outcome(row: Row) -> Outcome:
    try:
        verdicts = await verdicts_of(row)
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
