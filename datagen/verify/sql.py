"""``verify: sql``: whether a query gives the same rows as a reference."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import PositiveInt

from ...contracts.operators import Apply, Map
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from ..execution.by_running import lacking
from ..execution.limited_processes import CallLimitReached, LimitedProcesses, shared

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context

_FENCE = re.compile(r"```(?:\w+)?[ \t]*\n(.*?)```", re.DOTALL)


class VerifySql(Map):
    """Runs a query and a reference on a database, and compares their rows (text-to-SQL).

    The database is made in DuckDB by the statements in a column of the row, without files, network or
    extensions. Each query must be one SELECT. Rows are compared as a multiset, in order only if the
    reference has an ORDER BY itself; columns by their position, and numbers to 12 digits. Execution accuracy:
    Yu et al., Spider, EMNLP 2018. A row fails without text in one of the columns, if its database cannot be
    made, or if its reference cannot be run or gives no rows, as then every query without rows would pass. If
    `query` and `answer` are the same column, the reference itself is judged, and does not pass then.

    Adds:
        passed (bool): whether the query gives the reference's rows.
        reason (text): why it did not pass; null if it did.

    Example:
        checked: {verify: sql, from: answers, query: response, answer: gold, database: schema}
    """

    makes_rows: ClassVar[bool] = False
    batch_rows: ClassVar[int] = 64

    query: str = "response"
    """Column with the query to judge: SQL, or text with one fenced block of it."""
    answer: str = "answer"
    """Column with the reference query."""
    database: str = "database"
    """Column with the statements that make the database: CREATE TABLE, INSERT."""
    max_rows: PositiveInt = 10_000
    """Maximum number of rows of a query."""
    seconds: PositiveInt = 10
    """Maximum processor time of the statements and both queries together, in seconds."""
    memory_mib: PositiveInt = 512
    """Maximum memory of the database, in MiB."""

    def uses_columns(self) -> Sequence[str]:
        return (self.query, self.answer, self.database)

    def uses_text(self) -> Sequence[str]:
        return self.uses_columns()

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, *self.types()]

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {"passed": pa.bool_(), "reason": pa.string()}

    def open(self, context: Context) -> Apply:
        module = f"{__package__}.same_rows"
        processes = shared(module, "compare", seconds=self.seconds, memory=self.memory_mib << 20)

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            return [[each] for each in await asyncio.gather(*(self._row(row, processes) for row in rows))]

        return apply

    async def _row(self, row: Row, processes: LimitedProcesses) -> Outcome:
        if (error := lacking(row, self.uses_columns())) is not None:
            return Failed(error)
        blocks = _FENCE.findall(row[self.query])
        asked = {
            "setup": row[self.database],
            "reference": row[self.answer],
            "memory": self.memory_mib << 20,
            "most": self.max_rows,
        }
        query = blocks[0] if len(blocks) == 1 else row[self.query]
        try:
            told = await processes.call(query=query, **asked)
        except CallLimitReached as reached:
            return await self._whose(reached, processes, asked)
        if "invalid" in told:
            return self._unsound(told["invalid"])
        return Kept({"passed": told["reason"] is None, "reason": told["reason"]})

    async def _whose(self, reached: CallLimitReached, processes: LimitedProcesses, asked: Row) -> Outcome:
        """Say whose limit it was: the reference is run against itself."""
        try:
            told = await processes.call(query=asked["reference"], **asked)
        except CallLimitReached as own:
            return self._unsound(f"the reference cannot be run: {own.message}")
        if "invalid" in told:
            return self._unsound(told["invalid"])
        return Kept({"passed": False, "reason": reached.message})

    def _unsound(self, reason: str) -> Outcome:
        """The outcome of a row whose reference or database is at fault."""
        if self.query == self.answer:
            return Kept({"passed": False, "reason": reason})
        return Failed(reason)
