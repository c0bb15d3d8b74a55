"""Who carries micro-batches through a chain: this process, or a Ray cluster. Same rows either way."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import Protocol

import pyarrow as pa

from ..operator import Context, Map
from ..plan.nodes import Plan
from .chain import Chain, Emit
from .context import Models
from .pace import QUEUE, Pace
from .serving import served
from .stages import Stage

#: Micro-batches in flight here where no engine asks for more: one at work, one being encoded, one waiting for the disk.
AT_LEAST = 3
#: How many times the micro-batches that a stage starts with it may have in flight, where those leave slots free.
GROWTH = 4


class Executor(Protocol):
    """Opened for one stage after another. ``process`` may be awaited many times at once."""

    @property
    def models(self) -> Models:
        """Models as the other kinds of step (train, whole) use them in this process."""
        ...

    def open(self, stage: Stage, contexts: dict[str, Context]) -> None:
        """Get ready for the stage's micro-batches: start its engines, compile its templates."""
        ...

    async def process(self, table: pa.Table, first: int, last: int, emit: Emit) -> None:
        """Carry a micro-batch through the chain's steps number ``first .. last``."""
        ...

    def pace(self, plan: Plan, stage: Stage) -> Pace:
        """How many micro-batches to keep going at once."""
        ...

    async def release(self, keep: Iterable[str]) -> None:
        """Close the engines of models that the stages to come do not use."""
        ...

    async def close(self) -> None: ...


def slots(plan: Plan, stage: Stage) -> dict[str, int]:
    """How many requests one engine of each of the stage's models works on at once."""
    from ...datagen.engines import options_of

    found = {}
    for name in sorted(stage.models):
        model = served(plan, name)
        found[name] = options_of(model.engine).model_validate(dict(model.options)).slots
    return found


def saturating(plan: Plan, stage: Stage, at_least: int) -> int:
    """Enough micro-batches that an engine has half as many requests again as it can batch, as far as can be told ahead.

    No more than that: what is in flight is what a kill makes us pay twice.
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
    """Everything in this process: starts in milliseconds."""

    def __init__(self, models: ReleasingModels) -> None:
        self.models = models
        self._chain: Chain | None = None

    def open(self, stage: Stage, contexts: dict[str, Context]) -> None:
        self._chain = Chain(stage.steps, contexts)

    async def process(self, table: pa.Table, first: int, last: int, emit: Emit) -> None:
        assert self._chain is not None
        await self._chain.run(table, first, last, emit)

    def pace(self, plan: Plan, stage: Stage) -> Pace:
        start = saturating(plan, stage, at_least=AT_LEAST)
        return Pace(start, GROWTH * start, slots(plan, stage))

    async def release(self, keep: Iterable[str]) -> None:
        self._chain = None
        await self.models.release(keep)

    async def close(self) -> None:
        await self.release(())


class ReleasingModels(Models, Protocol):
    """Models whose engines can be closed."""

    async def release(self, keep: Iterable[str] = ()) -> None: ...
