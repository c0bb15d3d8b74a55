"""The models of a round: their weights on disk, and the engines that serve them.

An engine starts when a step first needs it and is closed after the last stage that uses it,
so that training never shares memory with generation. So is an embedding model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Protocol

from ...contracts.errors import ModelError
from ...contracts.gpu import has_gpu
from ...contracts.inference import Engine, EngineSettings, ModelWeights, StoredEmbedder
from ...contracts.training import Train
from ..plan.fingerprint import canonical, vectors_of
from ..plan.nodes import Plan, PlannedModel
from ..store.run_directory import RunDirectory
from .adapted import Adapted
from .freed_memory import give_back
from .meter import Metered
from .stored_embedder import EmbedderSettings, RunEmbedder
from .turns import Turns


@dataclass(frozen=True)
class ModelTable:
    """Resolves a step's model name: a model of the file, or a student that a step trained."""

    plan: Plan
    run: RunDirectory

    def weights(self, name: str) -> ModelWeights:
        """The weights of a model or student; of a combined model, those of its first tuned model, whose
        tokenizer it uses.

        Raises ModelError if the weights are not available, Damaged if an adapter is not the one that was
        trained.
        """
        model = self.plan.models.get(name)
        if model is None:
            return self._student(name)
        if model.members:
            return self.weights(model.members["plus"][0])
        from ..weights import resolve

        found = resolve(model.reference)
        made = model.adapter or found.adapter
        if made is not None:
            self.run.check_adapter(made)
        return replace(_over(found, made), name=name, digest=model.digest)

    def settings(self, name: str) -> EngineSettings:
        """How to serve the model; a student is served by its base's engine with its adapter."""
        model = served(self.plan, name)
        if model.members:
            beside = {part: tuple(map(self.weights, names)) for part, names in model.members.items()}
            (base,) = beside.pop("base")
            return EngineSettings(model.engine, base, dict(model.options), beside)
        weights = self.weights(name) if model.reference else None
        return EngineSettings(model.engine, weights, {**model.options, **_tokenizer(model)})

    def embedder(self, name: str | None) -> EmbedderSettings:
        """How to embed with a model of the file; None: with the packaged default."""
        from ..weights import DEFAULT_EMBEDDER, digest, resolve

        if name is None:
            own = digest(DEFAULT_EMBEDDER)
            model = PlannedModel(DEFAULT_EMBEDDER, "embedder", DEFAULT_EMBEDDER, {}, own)
        else:
            model = self.plan.models[name]
        weights = resolve(model.reference) if model.reference else None
        settings = EngineSettings(model.engine, weights, dict(model.options))
        return EmbedderSettings(settings, self.run.path.absolute(), vectors_of(model))

    def _student(self, name: str) -> ModelWeights:
        store = self.run.step(name, self.plan.step(name).fingerprint)
        base = self.weights(_train(self.plan, name).model)
        return replace(_over(base, store.adapter()[0]), name=name, digest=store.fingerprint)


def _over(base: ModelWeights, made: Path | None) -> ModelWeights:
    """What a step made of ``base``: its adapter over it, or a whole model in its place."""
    if made is not None and (made / "config.json").exists():
        return replace(base, path=made, adapter=None)
    return replace(base, adapter=made)


def served(plan: Plan, name: str) -> PlannedModel:
    """The model of the file behind a step's model name; for a student, the model it was trained from."""
    return plan.models[name] if name in plan.models else served(plan, _train(plan, name).model)


def _tokenizer(model: PlannedModel) -> dict[str, object]:
    """The option of a server's model that names the folder of the tokenizer to count with, if it has one."""
    from .. import engines, weights

    if "tokenizer" not in engines.options_of(model.engine).model_fields:
        return {}
    named = model.options.get("tokenizer")
    if named is None and not weights.exists(weights.DEFAULT_TOKENIZER):
        return {}
    return {"tokenizer": str(weights.resolve(str(named or weights.DEFAULT_TOKENIZER)).path)}


def _train(plan: Plan, name: str) -> Train:
    operator = plan.step(name).operator
    if not isinstance(operator, Train):
        raise ModelError(f"{name} is a step that does not train a model: name a model or a train step")
    return operator


class EngineSource(Protocol):
    """Starts an engine for settings: in this process, or as an actor elsewhere."""

    def __call__(self, settings: EngineSettings) -> Engine: ...


def start_here(settings: EngineSettings) -> Engine:
    """An engine in this process that is restarted if it dies."""
    from .. import engines
    from ..engines.restarting import Restarting

    return Restarting(lambda: engines.start(settings))


class Serving:
    """Engines and embedders by name, started once and shared by the steps that use them."""

    def __init__(self, table: ModelTable, start: EngineSource = start_here) -> None:
        self.table = table
        self._start = start
        #: The engines that serve several models, by what they serve them over.
        self._resident: dict[str, Engine] = {}
        self._engines: dict[str, Metered] = {}
        self._embedders: dict[str, RunEmbedder] = {}
        self._lock = Lock()
        self._turns = None if has_gpu() else Turns()

    def engine(self, name: str) -> Engine:
        return self.started(name)

    def started(self, name: str) -> Metered:
        """The engine of a model, started if it is not running."""
        with self._lock:
            if name not in self._engines:
                self._engines[name] = self._metered(name)
            return self._engines[name]

    def _metered(self, name: str) -> Metered:
        settings = self.table.settings(name)
        turns = self._turns if settings.weights is not None else None
        model = served(self.table.plan, name)
        if settings.weights is None or not model.resident or self._is_whole(name, model):
            return Metered(self._start(settings), name, turns)
        base = self._base(model)
        if base not in self._resident:
            alone = replace(settings, weights=replace(settings.weights, adapter=None))
            self._resident[base] = self._start(alone)
        shared = Adapted(self._resident[base], settings.weights.adapter)
        return Metered(shared, name, turns, turn=base)

    def _base(self, model: PlannedModel) -> str:
        """What a resident engine serves adapters over. Models that have it in common share the engine."""
        return canonical([model.engine, str(self.table.weights(model.name).path), model.options])

    def _is_whole(self, name: str, model: PlannedModel) -> bool:
        """Whether a student is a whole model, and no adapter over ``model``."""
        return self.table.weights(name).path != self.table.weights(model.name).path

    def wanted(self, name: str) -> int | None:
        """The requests that a model's engine has in flight or waiting; None if it does not tell."""
        engine = self._engines.get(name)
        return None if engine is None else engine.wanted

    def weights(self, name: str) -> ModelWeights:
        return self.table.weights(name)

    def embedder(self, name: str | None) -> StoredEmbedder:
        settings = self.table.embedder(name)
        with self._lock:
            if settings.vectors not in self._embedders:
                self._embedders[settings.vectors] = RunEmbedder(settings)
            return self._embedders[settings.vectors].for_step()

    async def release(self, keep: Iterable[str] = ()) -> None:
        """Close every engine and embedding model that later stages do not use."""
        keep = set(keep)
        used = {name: served(self.table.plan, name) for name in keep}
        closed = set(self._engines) - keep
        for name in closed:
            await self._engines.pop(name).close()
        for base in set(self._resident) - {self._base(model) for model in used.values() if model.resident}:
            await self._resident.pop(base).close()
        kept = {vectors_of(model) for model in used.values() if model.engine == "embedder"}
        for vectors, embedder in self._embedders.items():
            if vectors not in kept and await asyncio.to_thread(embedder.close):
                closed.add(vectors)
        if closed:
            give_back()
