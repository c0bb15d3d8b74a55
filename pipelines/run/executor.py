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
from .stages import Stage

#: vLLM's and our default number of sequences that an engine decodes at once.
SEQUENCES = 128
#: Micro-batches in flight here where no engine asks for more: one at work, one being encoded, one waiting for the disk.
AT_LEAST = 3


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

    def in_flight(self, plan: Plan, stage: Stage) -> int:
        """How many micro-batches to keep going at once."""
        ...

    async def release(self, keep: Iterable[str]) -> None:
        """Close the engines of models that the stages to come do not use."""
        ...

    async def close(self) -> None: ...


def saturating(plan: Plan, stage: Stage, at_least: int) -> int:
    """Enough micro-batches that an engine always has half as many requests again as it can batch.

    No more than that: what is in flight is what a kill makes us pay twice.
    """
    needed = at_least
    for step in stage.steps:
        served = {name: kind for name, kind in step.models.items() if kind in ("model", "train")}
        requests = step.operator.estimate(stage.batch_rows).requests if isinstance(step.operator, Map) else 0
        for name, kind in served.items() if requests else ():
            options = plan.models[name].options if kind == "model" else {}
            sequences = int(str(options.get("max_num_seqs", SEQUENCES)))
            needed = max(needed, ceil(1.5 * sequences * len(served) / requests) + 1)
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

    def in_flight(self, plan: Plan, stage: Stage) -> int:
        return saturating(plan, stage, at_least=AT_LEAST)

    async def release(self, keep: Iterable[str]) -> None:
        self._chain = None
        await self.models.release(keep)

    async def close(self) -> None:
        await self.release(())


class ReleasingModels(Models, Protocol):
    """Models whose engines can be closed."""

    async def release(self, keep: Iterable[str] = ()) -> None: ...
