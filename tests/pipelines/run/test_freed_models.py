"""What is loaded in the runner's process is freed when no later step needs it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from gristmill.contracts.training import Train
from gristmill.pipelines.file.load import loads
from gristmill.pipelines.plan.make import make_plan
from gristmill.pipelines.plan.nodes import Plan
from gristmill.pipelines.run.round import RoundExecution
from gristmill.pipelines.run.serving import ModelTable, Serving
from gristmill.pipelines.run.stages import stages
from gristmill.pipelines.store.run_directory import RunDirectory

FILE = """
gristmill: 1
name: freed
models:
  base: {{engine: transformers, path: "{base}", max_model_len: 64}}
  states: {{engine: embedder, path: "{base}", pooling: mean}}
  others: {{engine: embedder, path: "{base}", pooling: mean, window: 9}}
steps:
  rows: {{source: constraints, rows: 2}}
  unique: {{dedup: semantic, columns: [prompt], embedder: states, from: rows}}
  again: {{dedup: semantic, columns: [prompt], embedder: states, from: unique}}
  student: {{train: sft, from: again, model: base, max_length: 128, train_on: user}}
  last: {{dedup: semantic, columns: [prompt], embedder: others, from: again}}
"""


@pytest.fixture
def plan(make_model: Callable[..., Path]) -> Plan:
    return make_plan(loads(FILE.format(base=make_model()), "freed.yaml"), file="freed.yaml")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run", name="freed")


def loaded(models: Serving) -> Any:
    """A weak reference to the model behind the only embedder in use."""
    (embedder,) = models._embedders.values()
    return weakref.ref(embedder._model._model)  # type: ignore[union-attr]


def test_an_embedding_model_is_freed_after_its_last_step_and_loaded_again_if_need_be(
    plan: Plan, run: RunDirectory
) -> None:
    models = Serving(ModelTable(plan, run))
    embedder = models.embedder("states")
    before = embedder.encode(["flour"])
    model = loaded(models)
    asyncio.run(models.release({"states", "base"}))
    assert model() is not None
    asyncio.run(models.release({"others"}))
    assert model() is None
    np.testing.assert_array_equal(embedder.encode(["flour"]), before)
    assert models._embedders
    assert np.linalg.norm(embedder.encode(["another text"])) == pytest.approx(1.0)
    assert loaded(models)() is not None


def test_no_embedding_model_stays_beside_a_training(plan: Plan, run: RunDirectory) -> None:
    todo = stages(plan, run)
    session: Any = SimpleNamespace(plan=plan, run=run)
    execution = RoundExecution(session, cast(Any, SimpleNamespace()))
    trained = next(number for number, stage in enumerate(todo) if isinstance(stage.head.operator, Train))
    assert execution._needed(todo[1:]) == {"states"}
    assert execution._needed(todo[trained:]) == set()
    assert execution._needed(todo[trained + 1 :]) == {"others"}
