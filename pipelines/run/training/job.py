"""A training step with all that it names, to be carried out in other processes."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pyarrow as pa

from ....contracts import secrets, user_function
from ....contracts.context import Context
from ....contracts.errors import ModelError
from ....contracts.guard import guard_worker
from ....contracts.inference import ModelWeights
from ....contracts.training import Train, Trained
from ...store.files import disk
from ..context import OnProgress, OperatorContext, never, no_progress


@dataclass(frozen=True)
class TrainingJob:
    """Everything that ``fit`` of a step asks its context for. ``workdir`` must be the same folder for all."""

    operator: Train
    table: pa.Table
    step: str
    seed: int
    workdir: Path
    weights: Mapping[str, ModelWeights]
    tables: Mapping[str, pa.Table]

    @classmethod
    def of(cls, operator: Train, table: pa.Table, context: Context) -> TrainingJob:
        """Resolve the models and tables that the step names. Raises ModelError for one without weights."""
        named = {(kind, name) for _, kind, name in operator.references()}
        return cls(
            operator=operator,
            table=table,
            step=context.step,
            seed=context.seed,
            workdir=context.workdir.absolute(),
            weights={name: context.weights(name) for kind, name in named if kind == "model"},
            tables={name: context.table(name) for kind, name in named if kind == "step"},
        )

    def carry_out(
        self, on_progress: OnProgress = no_progress, stopping: Callable[[], None] = never
    ) -> Trained:
        """Train, as one process of a process group of ``torch.distributed``."""
        context = OperatorContext(
            step=self.step,
            seed=self.seed,
            workdir=self.workdir,
            models=JobModels(self.weights),
            tables=self.tables.__getitem__,
            on_progress=on_progress,
            stopping=stopping,
        )
        return self.operator.fit(self.table, context)


@dataclass(frozen=True)
class JobModels:
    """The weights that a training step names; it cannot ask engines."""

    found: Mapping[str, ModelWeights]

    def weights(self, name: str) -> ModelWeights:
        return self.found[name]

    def engine(self, name: str) -> NoReturn:
        raise ModelError(f"a training step cannot ask the engine of {name!r}")

    def embedder(self, name: str | None) -> NoReturn:
        raise ModelError(f"a training step cannot embed with {name!r}")


def packed(job: TrainingJob) -> bytes:
    """The job for :func:`unpacked`, with what a process must know before it can read it."""
    return pickle.dumps((Path.cwd(), secrets.learned(), pickle.dumps(job)))


def unpacked(data: bytes) -> TrainingJob:
    """Read a job in another process: one that prints no secrets and finds the user's own modules.

    Raises StoreError if this machine does not see the working directory of the run.
    """
    guard_worker()
    folder, keys, inner = pickle.loads(data)
    with disk(folder, "cannot read"):
        os.chdir(folder)  # paths of models may be relative to it
    for secret in keys:
        secrets.learn_key(secret)
    user_function.look_in(folder)
    job: TrainingJob = pickle.loads(inner)
    return job
