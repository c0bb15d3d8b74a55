"""A chain of map steps that is ready to process micro-batches from its first step to its last."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from ...contracts.context import Context
from ...contracts.declared import filled, filled_rows
from ...contracts.errors import EngineError, of_step
from ...contracts.exchanges import view, view_of_rows, viewed
from ...contracts.inference import Usage
from ...contracts.operators import Apply, Map, TableApply, TableMap
from ..plan.nodes import PlannedStep
from .meter import STEP_USAGE, StepUsage
from .occupancy import Span
from .outcomes import failed_rows, from_outcomes, kept_rows, of_no_rows
from .verdicts import from_table_result


@dataclass(frozen=True, slots=True)
class StepResult:
    """One step's result for one micro-batch. ``table`` holds every outcome. ``seconds``: wall time.

    ``spans``: when the step's requests were in flight, by model.
    """

    step: str
    table: pa.Table
    rows_in: int
    usage: Usage
    seconds: float
    spans: Mapping[str, list[Span]]


#: Receives each step's result as soon as it is available.
Emit = Callable[[StepResult], Awaitable[None]]


class Chain:
    """The operators of consecutive map steps, with their engines started and their templates compiled."""

    def __init__(self, steps: Sequence[PlannedStep], contexts: Mapping[str, Context]) -> None:
        self.steps = steps
        self._rowwise: dict[str, Apply] = {}
        self._tables: dict[str, TableApply] = {}
        for step in steps:
            context = contexts[step.name]
            with of_step(step.name):
                if isinstance(step.operator, TableMap):
                    self._tables[step.name] = step.operator.open(context)
                elif isinstance(step.operator, Map):
                    self._rowwise[step.name] = step.operator.open(context)

    async def run(self, table: pa.Table, first: int, last: int, emit: Emit) -> None:
        """Process a micro-batch by steps ``first .. last``. ``table`` is the input of the first one.

        If an engine fails permanently, the rows of the micro-batch are *failed*. Any other
        GristmillError stops the run.
        """
        for index in range(first, last + 1):
            step = self.steps[index]
            started = time.monotonic()
            step_usage = StepUsage()
            STEP_USAGE.set(step_usage)
            with of_step(step.name):
                made = await self._apply(step, table) if table.num_rows else of_no_rows(table, step.operator)
            seconds = time.monotonic() - started
            await emit(
                StepResult(step.name, made, table.num_rows, step_usage.usage, seconds, step_usage.spans)
            )
            table = kept_rows(made)

    async def _apply(self, step: PlannedStep, table: pa.Table) -> pa.Table:
        try:
            if step.name in self._tables:
                seen = filled(table, step.declared)
                seen = view(seen, viewed(step.operator, table.column_names))
                table_result = await asyncio.to_thread(self._tables[step.name], seen)
                return await asyncio.to_thread(from_table_result, table, table_result)
            return await self._map(step, table)
        except EngineError as error:
            return failed_rows(table, str(error), retryable=error.retryable)

    async def _map(self, step: PlannedStep, table: pa.Table) -> pa.Table:
        operator = step.operator
        assert isinstance(operator, Map)
        rows = table.to_pylist()
        seen = view_of_rows(filled_rows(rows, step.declared), viewed(operator, table.column_names))
        return from_outcomes(
            table,
            rows,
            await self._rowwise[step.name](seen),
            fingerprint=step.fingerprint,
            makes_rows=operator.makes_rows,
            types=operator.types(),
        )
