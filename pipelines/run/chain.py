"""A chain of map steps, opened and ready to carry micro-batches from its first step to its last."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from ..errors import DataError, EngineError, GristmillError
from ..inference import Usage
from ..operator import Apply, Context, Map, TableApply, TableMap
from ..plan.nodes import PlannedStep
from .meter import PAYING
from .outcomes import all_kept, failed_rows, from_outcomes, from_verdicts, going_on


@dataclass(frozen=True, slots=True)
class Result:
    """What one step made of one micro-batch. ``table`` holds every outcome. ``seconds``: wall time."""

    step: str
    table: pa.Table
    rows_in: int
    usage: Usage
    seconds: float


#: Receives each step's result as soon as it is there.
Emit = Callable[[Result], Awaitable[None]]


class Chain:
    """Operators of consecutive map steps with their engines and templates at hand."""

    def __init__(self, steps: Sequence[PlannedStep], contexts: Mapping[str, Context]) -> None:
        self.steps = steps
        self._open: list[Apply | TableApply] = []
        for step in steps:
            assert isinstance(step.operator, (Map, TableMap))
            self._open.append(step.operator.open(contexts[step.name]))

    async def run(self, table: pa.Table, first: int, last: int, emit: Emit) -> None:
        """Carry a micro-batch through steps ``first .. last``. ``table`` is the first one's input.

        An engine that failed for good makes the micro-batch's rows *failed*; another error that a
        person can act on stops the run.
        """
        for index in range(first, last + 1):
            step = self.steps[index]
            started = time.monotonic()
            usage = Usage()
            PAYING.set(usage)
            made = await self._apply(index, table) if table.num_rows else all_kept(table)
            await emit(Result(step.name, made, table.num_rows, usage, time.monotonic() - started))
            table = going_on(made)

    async def _apply(self, index: int, table: pa.Table) -> pa.Table:
        step, apply = self.steps[index], self._open[index]
        try:
            if isinstance(step.operator, TableMap):
                verdicts = await asyncio.to_thread(apply, table)  # type: ignore[arg-type]
                return await asyncio.to_thread(from_verdicts, table, verdicts, step=step.name)
            assert isinstance(step.operator, Map)
            rows = table.to_pylist()
            return from_outcomes(
                table,
                rows,
                await apply(rows),  # type: ignore[arg-type, misc]
                step=step.name,
                fingerprint=step.fingerprint,
                makes=step.operator.makes,
                types=step.operator.types(),
            )
        except EngineError as error:
            return failed_rows(table, str(error), retryable=error.retryable)
        except GristmillError as error:
            if str(error).startswith(f"step {step.name}:"):
                raise
            raise DataError(f"step {step.name}: {error}") from error
