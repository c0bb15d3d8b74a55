"""Base of operators that judge rows by running code: the rows of a micro-batch run concurrently in a
sandbox."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ...contracts.errors import SandboxDied
from ...contracts.operators import Apply, Estimate, Map
from ...contracts.outcomes import Failed, Outcome
from ...contracts.rows import Row
from .sandboxes import SandboxSettings, shared
from .verdict import RunsJobs, encodable

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context


__all__ = ["ByRunning", "encodable", "lacking"]


class ByRunning(Map):
    """Adds columns to each row, including ``verdict``. Filters nothing: use ``keep: "passed"``."""

    version: ClassVar[int] = 3
    makes_rows: ClassVar[bool] = False
    batch_rows: ClassVar[int] = 64

    sandbox: SandboxSettings = SandboxSettings()
    """Sandbox settings: limits, and permitted imports."""

    def runs(self) -> int:
        """Approximate number of runs of code per row."""
        return 1

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=rows, runs=rows * self.runs())

    @abstractmethod
    async def judged(self, row: Row, run: RunsJobs, seed: int) -> Outcome:
        """Judge a row by running its code. ``run`` executes a job; ``seed`` is the step's."""

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, *self.types()]

    def summary(self, table: pa.Table) -> Mapping[str, Any]:
        """The number of rows per verdict."""
        counted = table["verdict"].value_counts().to_pylist()
        return {str(each["values"]): int(each["counts"]) for each in counted}

    def open(self, context: Context) -> Apply:
        box, seed = shared(self.sandbox), context.seed

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            judged = await asyncio.gather(*(or_failed(self.judged(row, box.run, seed)) for row in rows))
            return [[outcome] for outcome in judged]

        return apply


T = TypeVar("T")


async def or_failed(judging: Awaitable[T]) -> T | Failed:
    """Return the outcome of a row's runs; if the sandbox failed, a retryable failure of this row alone."""
    try:
        return await judging
    except SandboxDied as error:
        return Failed(str(error), retryable=error.retryable)


def lacking(row: Row, columns: Sequence[str]) -> str | None:
    """Return what is wrong with the first column without text; None if all have text."""
    for column in columns:
        if not isinstance(row.get(column), str):
            found = f"holds {type(row[column]).__name__}" if column in row else "is missing"
            return f"column {column!r} {found}; text is required"
    return None
