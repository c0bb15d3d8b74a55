"""The runner's implementation of the :class:`~gristmill.contracts.operators.Context` of an operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from ...contracts.inference import Engine, ModelWeights, StoredEmbedder

#: (step, done, total, unit, figures)
OnProgress = Callable[[str, float, float, str, Mapping[str, float]], None]


class Models(Protocol):
    """Provides the models of a round by the names that its steps use."""

    def engine(self, name: str) -> Engine: ...

    def weights(self, name: str) -> ModelWeights: ...

    def embedder(self, name: str | None) -> StoredEmbedder: ...


def no_progress(step: str, done: float, total: float, unit: str, figures: Mapping[str, float]) -> None:
    """Ignore progress (in a worker on another machine)."""


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

    def engine(self, model: str) -> Engine:
        return self.models.engine(model)

    def weights(self, model: str) -> ModelWeights:
        return self.models.weights(model)

    def embedder(self, model: str | None) -> StoredEmbedder:
        return self.models.embedder(model)

    def table(self, step: str) -> pa.Table:
        return self.tables(step)

    def progress(self, done: float, total: float, unit: str, **figures: float) -> None:
        self.on_progress(self.step, done, total, unit, figures)

    def check(self) -> None:
        self.stopping()
