"""A context whose students lie in the test's own folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gristmill.contracts.inference import ModelWeights


@pytest.fixture
def bench(stopping: Any, make_model: Any, tmp_path: Path) -> Any:
    """A context whose model `base` is a random one, and any other the one in ``tmp_path`` of this name."""
    path = make_model(num_hidden_layers=1)

    class Bench(stopping):  # type: ignore[misc]
        def weights(self, model: str) -> ModelWeights:
            student = {"base": path}.get(model, tmp_path / model)
            return ModelWeights(model, student, "digest", None)

        def progress(self, done: float, total: float, unit: str, **figures: float) -> None:
            self.reports.append((done, total, figures))

    return Bench(tmp_path / "work", path)
