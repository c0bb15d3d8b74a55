"""What judges a row by running code: a micro-batch's rows side by side in one sandbox."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ...pipelines.errors import SandboxDied
from ...pipelines.operator import Apply, Estimate, Failed, Map, Outcome
from ...pipelines.records import Row
from .boxes import SandboxSettings, shared
from .verdict import Run, encodable

if TYPE_CHECKING:
    import pyarrow as pa

    from ...pipelines.operator import Context


__all__ = ["ByRunning", "encodable", "lacking"]


class ByRunning(Map):
    """Adds columns to each row, ``verdict`` text among them, and filters nothing: ``keep: "passed"`` does that."""

    version: ClassVar[int] = 3
    makes: ClassVar[bool] = False
    batch_rows: ClassVar[int] = 64

    sandbox: SandboxSettings = SandboxSettings()
    """How the code is run: limits, and what it may import."""

    def runs(self) -> int:
        """Of code, for each row, about."""
        return 1

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=rows, runs=rows * self.runs())

    @abstractmethod
    async def judged(self, row: Row, run: Run, seed: int) -> Outcome:
        """What running the row's code shows. ``run`` carries a job out; ``seed`` is the step's."""

    def summary(self, table: pa.Table) -> Mapping[str, Any]:
        """How many rows got each verdict."""
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
    """What a row's runs show; where the sandbox failed under them, a failure of this row alone that may be tried again."""
    try:
        return await judging
    except SandboxDied as error:
        return Failed(str(error), retryable=error.retryable)


def lacking(row: Row, columns: Sequence[str]) -> str | None:
    """What is wrong with the first of the columns that holds no text; None where all do."""
    for column in columns:
        if not isinstance(row.get(column), str):
            found = f"holds {type(row[column]).__name__}" if column in row else "is missing"
            return f"column {column!r} {found}, and text is needed"
    return None
