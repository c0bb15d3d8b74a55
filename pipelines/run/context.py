"""The runner's implementation of the :class:`~gristmill.contracts.context.Context` of an operator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from ...contracts.asking import ask_all
from ...contracts.errors import EngineError
from ...contracts.exchanges import MESSAGES, VIEWED, view
from ...contracts.inference import Completion, Engine, ModelWeights, Request, StoredEmbedder
from ...contracts.rows import Row

#: (step, done, total, unit, figures)
OnProgress = Callable[[str, float, float, str, Mapping[str, float]], None]


class Models(Protocol):
    """Provides the models of a round by the names that its steps use."""

    def engine(self, name: str) -> Engine: ...

    def weights(self, name: str) -> ModelWeights: ...

    def embedder(self, name: str | None) -> StoredEmbedder: ...


def no_progress(step: str, done: float, total: float, unit: str, figures: Mapping[str, float]) -> None:
    """Ignore progress (in a worker on another machine)."""


def nothing_measured(model: str) -> None:
    """Ask every model."""


def never() -> None:
    """Never stop (a worker is stopped by its executor)."""


@dataclass(frozen=True)
class OperatorContext:
    """The context of one step in this process."""

    step: str
    seed: int
    workdir: Path
    models: Models
    tables: Callable[[str], pa.Table]
    on_progress: OnProgress = field(default=no_progress)
    stopping: Callable[[], None] = field(default=never)
    #: What was measured of a model before, if this step is an evaluation.
    known: Callable[[str], Mapping[str, Row] | None] = field(default=nothing_measured)
    #: The loop of the engines, of an operator that works in a thread beside it.
    loop: asyncio.AbstractEventLoop | None = None

    def engine(self, model: str) -> Engine:
        return self.models.engine(model)

    def ask(self, model: str, requests: Sequence[Request]) -> list[Completion | EngineError]:
        assert self.loop is not None
        asked = asyncio.run_coroutine_threadsafe(ask_all(self.engine(model), requests), self.loop)
        while not asked.done():
            try:
                self.check()
            except BaseException:
                asked.cancel()
                raise
            wait([asked], timeout=0.2)
        return asked.result()

    def weights(self, model: str) -> ModelWeights:
        return self.models.weights(model)

    def embedder(self, model: str | None) -> StoredEmbedder:
        return self.models.embedder(model)

    def table(self, step: str) -> pa.Table:
        found = self.tables(step)
        return view(found, VIEWED) if MESSAGES in found.column_names else found

    def measured(self, model: str) -> Mapping[str, Row] | None:
        return self.known(model)

    def progress(self, done: float, total: float, unit: str, **figures: float) -> None:
        self.on_progress(self.step, done, total, unit, figures)

    def check(self) -> None:
        self.stopping()
