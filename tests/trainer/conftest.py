"""Rows to train on, and a context that can be stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.pipelines.inference import ModelWeights
from gristmill.pipelines.operator import Trained


class Stopped(Exception):
    """Raised by the test's context to stop a run."""


@dataclass
class Stopping:
    """A context of one train step that stops the run at the ``stop_at``-th check."""

    workdir: Path
    path: Path
    adapter: Path | None = None
    stop_at: int | None = None
    seed: int = 17
    step: str = "student"
    tables: dict[str, pa.Table] = field(default_factory=dict)
    asked: int = 0
    reports: list[tuple[float, float, dict[str, float]]] = field(default_factory=list)

    def weights(self, model: str) -> ModelWeights:
        return ModelWeights(model, self.path, "digest", self.adapter)

    def progress(self, done: float, total: float, unit: str, **figures: float) -> None:
        assert unit == "steps"
        self.reports.append((done, total, figures))

    def check(self) -> None:
        self.asked += 1
        if self.stop_at is not None and self.asked > self.stop_at:
            raise Stopped

    def table(self, step: str) -> pa.Table:
        return self.tables[step]


@pytest.fixture
def stopping() -> type[Stopping]:
    return Stopping


@pytest.fixture
def stopped() -> type[Stopped]:
    return Stopped


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return [
        {"_id": f"row-{n}", "prompt": "count " * (n % 5 + 1), "response": "one two three "[: 4 + n % 9]}
        for n in range(17)
    ]


@pytest.fixture
def digest() -> Callable[[Trained], str]:
    """Return a function that computes a digest of what a training wrote."""

    def digest_of(trained: Trained) -> str:
        (file,) = trained.adapter.glob("*.safetensors")
        return hashlib.sha256(file.read_bytes()).hexdigest()

    return digest_of
