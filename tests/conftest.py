"""What tests share: a context in which an operator can be tried on its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import settings

from gristmill.pipelines.inference import Embedder, Engine, ModelWeights

# Machines are noisy: a time limit on an example fails for the wrong reason.
settings.register_profile("gristmill", deadline=None, max_examples=50)
settings.load_profile("gristmill")


@dataclass
class Bench:
    """A Context around one operator: its engines, weights and tables are what the test puts there."""

    workdir: Path
    step: str = "step"
    seed: int = 17
    engines: dict[str, Engine] = field(default_factory=dict)
    models: dict[str, ModelWeights] = field(default_factory=dict)
    embedders: dict[str | None, Embedder] = field(default_factory=dict)
    tables: dict[str, pa.Table] = field(default_factory=dict)
    reports: list[tuple[float, float, str]] = field(default_factory=list)

    def engine(self, model: str) -> Engine:
        return self.engines[model]

    def weights(self, model: str) -> ModelWeights:
        return self.models[model]

    def embedder(self, model: str | None) -> Embedder:
        return self.embedders[model]

    def table(self, step: str) -> pa.Table:
        return self.tables[step]

    def progress(self, done: float, total: float, unit: str, **figures: float) -> None:
        self.reports.append((done, total, unit))

    def check(self) -> None:
        return None


@pytest.fixture
def context(tmp_path: Path) -> Bench:
    return Bench(workdir=tmp_path / "work")
