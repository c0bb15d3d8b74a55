"""Processes micro-batches on a Ray cluster: engines are actors, and so are workers, with many micro-batches
each.

Ray does scheduling, placement, data movement and retries after a lost worker or node. The driver commits
micro-batches, so a call that Ray repeats is committed once. The tasks of whole-table steps write files
themselves, with the same bytes whenever they are repeated.
"""

from __future__ import annotations

import asyncio
import os
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray

from ...contracts import secrets, user_function
from ...contracts.context import Context
from ...contracts.errors import EngineError, GristmillError, ModelError
from ...contracts.guard import guard_worker
from ...contracts.inference import (
    Capability,
    Completion,
    Engine,
    EngineSettings,
    ModelWeights,
    Request,
    StoredEmbedder,
)
from ...contracts.rows import Row
from ...contracts.training import Train, Trained
from ..plan.nodes import Plan, PlannedStep
from .chain import Chain, Emit, StepResult
from .context import OperatorContext
from .executor import GROWTH, Tell, saturating, slots
from .pace import Pace
from .serving import ModelTable, Serving, served, start_here
from .stages import Stage
from .stored_embedder import EmbedderSettings, RunEmbedder
from .whole_table.ray_tasks import RayTasks

#: Actors are spread over the nodes. If a process or a node is lost, they are restarted and their calls
#: repeated.
_KEPT = {"max_restarts": -1, "max_task_retries": -1, "max_concurrency": 1024, "scheduling_strategy": "SPREAD"}


class EngineActor:
    """One engine on some node of the cluster."""

    def __init__(self, settings: EngineSettings) -> None:
        # Ray gives an actor as many threads as it reserves cores, and libraries read this when they are
        # imported. Setting it in the actor's runtime environment would make Ray start a new process, which
        # takes seconds.
        os.environ["OMP_NUM_THREADS"] = str(os.cpu_count() or 1)
        guard_worker()
        self._engine = start_here(settings)

    async def vocab_size(self) -> int | None:
        return self._engine.vocab_size

    async def generate(self, requests: Sequence[Request]) -> Sequence[Completion | EngineError]:
        return await self._engine.generate(requests)

    async def close(self) -> None:
        await self._engine.close()


@dataclass
class ActorEngine:
    """An engine that distributes calls round-robin over one or several actors."""

    actors: Sequence[Any]
    capabilities: frozenset[Capability]
    vocab_size: int | None

    def __post_init__(self) -> None:
        self._turns = cycle(self.actors)

    async def generate(self, requests: Sequence[Request]) -> Sequence[Completion | EngineError]:
        answers: Sequence[Completion | EngineError] = await _answer(
            next(self._turns).generate.remote(list(requests))
        )
        return answers

    async def close(self) -> None:
        for actor in self.actors:
            ray.kill(actor)

    def __reduce__(self) -> tuple[Any, ...]:
        return (ActorEngine, (self.actors, self.capabilities, self.vocab_size))


async def _answer(reference: Any) -> Any:
    """The result of a call.

    A GristmillError is raised as in the actor, without Ray's traceback as its text.
    """
    try:
        return await reference
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, GristmillError):
            raise error.cause from None
        raise


def start_actors(settings: EngineSettings) -> Engine:
    """The actors that serve a model: ``replicas`` of them, spread over the nodes."""
    from ..engines import capabilities_of

    replicas = int(str(settings.options.get("replicas", 1)))
    remote: Any = ray.remote(EngineActor).options(**_resources(settings), **_KEPT)
    actors: list[Any] = [remote.remote(settings) for _ in range(replicas)]
    # A call to the first actor waits until its engine is up.
    vocab_size: int | None = ray.get(actors[0].vocab_size.remote())
    return ActorEngine(actors, capabilities_of(settings.kind, settings.options), vocab_size)


def _resources(settings: EngineSettings) -> dict[str, float]:
    """The resources of an engine on its node: GPUs if there are any, else one core if it has weights."""
    if settings.weights is None:
        return {"num_cpus": 0}
    if ray.cluster_resources().get("GPU"):
        return {"num_gpus": float(str(settings.options.get("tensor_parallel_size", 1)))}
    return {"num_cpus": 1}


@dataclass(frozen=True)
class StageJob:
    """Everything a worker needs to open a chain, sent once per stage."""

    stage: Stage
    engines: Mapping[str, Engine]
    weights: Mapping[str, ModelWeights]
    embedders: Mapping[str | None, EmbedderSettings]
    tables: Mapping[str, pa.Table]
    measured: Mapping[str, Mapping[str, Mapping[str, Row]]]
    folder: Path
    secrets: frozenset[str]


@dataclass(frozen=True)
class WorkerModels:
    """The models of a stage, in a worker. ``embedders``: those in use, by the name of their vectors."""

    job: StageJob
    embedders: dict[str, RunEmbedder] = field(default_factory=dict)

    def engine(self, name: str) -> Engine:
        from .meter import Metered

        return Metered(self.job.engines[name], name)

    def weights(self, name: str) -> ModelWeights:
        if name not in self.job.weights:
            raise ModelError(f"the stage does not name the model {name!r}")
        return self.job.weights[name]

    def embedder(self, name: str | None) -> StoredEmbedder:
        settings = self.job.embedders[name]
        return self.embedders.setdefault(settings.vectors, RunEmbedder(settings)).for_step()


class Carrier:
    """A worker actor that processes many micro-batches concurrently;
    it opens its operators once per stage.
    """

    def __init__(self) -> None:
        self._opening = asyncio.Lock()
        self._reference: Any = None
        self._chain: Chain | None = None

    async def carry(
        self, job: list[Any], table: pa.Table, first: int, last: int
    ) -> tuple[list[StepResult], Exception | None]:
        """Process one micro-batch by the chain's steps ``first .. last``.

        Returns the results, and the error that stopped the chain after the last of them, if there is one.
        ``job``: a reference to the stage's job, inside a list, since Ray would fetch a bare one for each
        call.
        """
        chain = await self._opened(job[0])
        results: list[StepResult] = []

        async def emit(result: StepResult) -> None:
            results.append(result)

        try:
            await chain.run(table, first, last, emit)
        except GristmillError as error:
            return results, error
        except Exception as error:  # as a text: it may be of a class that cannot be pickled
            return results, RuntimeError(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
        return results, None

    async def _opened(self, reference: Any) -> Chain:
        async with self._opening:
            if self._chain is None or reference != self._reference:
                self._chain, self._reference = _open(await reference), reference
            return self._chain


def _open(job: StageJob) -> Chain:
    guard_worker()
    for secret in job.secrets:
        secrets.learn_key(secret)
    user_function.look_in(job.folder)
    models = WorkerModels(job)
    contexts: dict[str, Context] = {
        step.name: OperatorContext(
            step=step.name,
            seed=step.seed,
            workdir=Path("unused"),
            models=models,
            tables=lambda name: job.tables[name],
            known=job.measured.get(step.name, {}).get,
        )
        for step in job.stage.steps
    }
    return Chain(job.stage.steps, contexts)


@dataclass
class Carrying:
    """A worker actor and the number of its micro-batches in flight."""

    actor: Any
    load: int = 0


class RayExecutor:
    """Processes micro-batches as calls of Ray actors; see the module."""

    def __init__(self, table: ModelTable) -> None:
        self._serving = Serving(table, start_actors)
        self.models = self._serving
        self.tasks = RayTasks()
        self._table = table
        self._job: Any = None
        self._carriers: list[Carrying] = []

    def open(self, stage: Stage, contexts: dict[str, Context]) -> None:
        measured = {step.name: _measured(step, contexts[step.name]) for step in stage.steps}
        asked = {name for step in stage.steps for name in step.models.keys() - measured[step.name].keys()}
        engines: dict[str, Engine] = {}
        for name in sorted(stage.models & asked):
            engines[name] = self._serving.started(name).engine
        reads = {name for step in stage.steps for name in step.reads}
        embedders: dict[str | None, EmbedderSettings] = {}
        for step in stage.steps:
            for parameter, kind in type(step.operator).reference_fields():
                if kind == "embedder":
                    named = getattr(step.operator, parameter)
                    embedders[named] = self._table.embedder(named)
        job = StageJob(
            stage=stage,
            engines=engines,
            weights={name: self._table.weights(name) for name in engines if self._has_weights(name)},
            embedders=embedders,
            tables={name: contexts[stage.head.name].table(name) for name in sorted(reads)},
            measured=measured,
            folder=Path.cwd(),
            secrets=secrets.learned(),
        )
        self._job = ray.put(job)

    async def process(self, table: pa.Table, first: int, last: int, emit: Emit) -> None:
        carrier = self._least_loaded()
        carrier.load += 1
        reference = carrier.actor.carry.remote([self._job], table, first, last)
        try:
            results, error = await _answer(reference)
        except asyncio.CancelledError:
            ray.cancel(reference, force=False)
            raise
        finally:
            carrier.load -= 1
        for result in results:
            await emit(result)
        if error is not None:
            raise error

    def train(self, operator: Train, table: pa.Table, context: Context, tell: Tell) -> Trained:
        from .training.on_ray import train_on_ray

        return train_on_ray(operator, table, context, tell)

    def _least_loaded(self) -> Carrying:
        """The worker with the fewest micro-batches, or a new one while all are busy and there are fewer than
        cores.

        Workers reserve no core: an engine may need it, or a lost node may have had it, and the worker would
        wait forever.
        """
        least = min(self._carriers, key=lambda carrier: carrier.load, default=None)
        if least is None or (least.load and len(self._carriers) < _cores()):
            least = Carrying(ray.remote(Carrier).options(num_cpus=0, **_KEPT).remote())
            self._carriers.append(least)
        return least

    def pace(self, plan: Plan, stage: Stage) -> Pace:
        replicas = {name: int(str(served(plan, name).options.get("replicas", 1))) for name in stage.models}
        start = saturating(plan, stage, at_least=2 * _cores()) * max([1, *replicas.values()])
        all_slots = {name: count * replicas[name] for name, count in slots(plan, stage).items()}
        return Pace(start, GROWTH * start, all_slots)

    async def release(self, keep: Iterable[str]) -> None:
        self._job = None
        await self._serving.release(keep)

    async def close(self) -> None:
        await self.release(())
        for carrier in self._carriers:
            ray.kill(carrier.actor)
        self._carriers.clear()

    def _has_weights(self, name: str) -> bool:
        return self._table.settings(name).weights is not None


def _measured(step: PlannedStep, context: Context) -> dict[str, Mapping[str, Row]]:
    """The models that a step need not ask, with what was measured of them."""
    found = {name: context.measured(name) for name in step.models}
    return {name: rows for name, rows in found.items() if rows is not None}


def _cores() -> int:
    """The number of cores of the cluster, as Ray counts them."""
    return int(ray.cluster_resources().get("CPU", 1))
