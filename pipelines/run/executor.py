"""Executors process the micro-batches of a chain, in this process or on a Ray cluster, with the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import ceil
from typing import Protocol

import pyarrow as pa

from ...contracts.context import Context
from ...contracts.operators import Map
from ...contracts.training import Train, Trained
from ..plan.nodes import Plan
from .chain import Chain, Emit
from .context import Models
from .pace import QUEUE, Pace
from .serving import served
from .stages import Stage
from .whole_table.pool import TaskPool, ThreadTasks

#: Reports a sentence to the user.
Tell = Callable[[str], None]
#: Default number of micro-batches in flight: one being processed, one being encoded, one being written.
AT_LEAST = 3
#: The number of micro-batches in flight may grow to this multiple of the initial number if slots are free.
GROWTH = 4


class Executor(Protocol):
    """Processes one stage after another. ``process`` may be awaited concurrently."""

    @property
    def models(self) -> Models:
        """The models for the other kinds of step (training, whole tables) in this process."""
        ...

    @property
    def tasks(self) -> TaskPool:
        """What carries out the tasks of whole-table steps."""
        ...

    def open(self, stage: Stage, contexts: dict[str, Context]) -> None:
        """Prepare a stage: start its engines, compile its templates."""
        ...

    async def process(self, table: pa.Table, first: int, last: int, emit: Emit) -> None:
        """Process a micro-batch by the chain's steps ``first .. last``."""
        ...

    def train(self, operator: Train, table: pa.Table, context: Context, tell: Tell) -> Trained:
        """Carry out a training step, in as many processes as it asks for. ``tell``: reports a restart."""
        ...

    def pace(self, plan: Plan, stage: Stage) -> Pace:
        """The number of micro-batches to keep in flight."""
        ...

    async def release(self, keep: Iterable[str]) -> None:
        """Close the engines and embedding models that later stages do not use."""
        ...

    async def close(self) -> None: ...


def slots(plan: Plan, stage: Stage) -> dict[str, int]:
    """The number of concurrent requests per engine, for each model of the stage."""
    from ..engines import options_of

    found = {}
    for name in sorted(stage.models):
        model = served(plan, name)
        found[name] = options_of(model.engine).model_validate(dict(model.options)).slots
    return found


def saturating(plan: Plan, stage: Stage, at_least: int) -> int:
    """The number of micro-batches that gives an engine about 1.5 times the requests that it can batch.

    It is no larger because work in flight is lost, and paid for again, if the process is killed.
    """
    needed = at_least
    free = slots(plan, stage)
    for step in stage.steps:
        asked = [name for name, kind in step.models.items() if kind in ("model", "train")]
        requests = step.operator.estimate(stage.batch_rows).requests if isinstance(step.operator, Map) else 0
        for name in asked if requests else ():
            needed = max(needed, ceil(QUEUE * free[name] * len(asked) / requests) + 1)
    return needed


class LocalExecutor:
    """Runs everything in this process. Starts in milliseconds."""

    def __init__(self, models: ReleasingModels) -> None:
        self.models = models
        self.tasks = ThreadTasks()
        self._chain: Chain | None = None

    def open(self, stage: Stage, contexts: dict[str, Context]) -> None:
        self._chain = Chain(stage.steps, contexts)

    async def process(self, table: pa.Table, first: int, last: int, emit: Emit) -> None:
        assert self._chain is not None
        await self._chain.run(table, first, last, emit)

    def train(self, operator: Train, table: pa.Table, context: Context, tell: Tell) -> Trained:
        from .training.here import train_here

        return train_here(operator, table, context, tell)

    def pace(self, plan: Plan, stage: Stage) -> Pace:
        start = saturating(plan, stage, at_least=AT_LEAST)
        free = slots(plan, stage)

        def has_room() -> bool:
            wanted = {name: self.models.wanted(name) for name in free}
            return any(count is not None and count < free[name] for name, count in wanted.items())

        return Pace(start, GROWTH * start, free, has_room)

    async def release(self, keep: Iterable[str]) -> None:
        self._chain = None
        await self.models.release(keep)

    async def close(self) -> None:
        await self.release(())


class ReleasingModels(Models, Protocol):
    """Models whose engines and embedding models can be closed."""

    async def release(self, keep: Iterable[str] = ()) -> None: ...

    def wanted(self, name: str) -> int | None:
        """The requests that a model's engine has in flight or waiting; None if it does not tell."""
        ...
