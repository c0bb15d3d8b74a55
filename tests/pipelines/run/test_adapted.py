"""One resident engine for a model and its students: adapters by request, and how long it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gristmill.contracts.inference import Completion, EngineSettings, ModelWeights, Request, Sampling
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
name: alternating
models:
  base: {{engine: vllm, path: "{base}", resident: {resident}}}
  other: {{engine: synthetic}}
steps:
  prompts: {{source: constraints, rows: 2}}
  rounds:
    repeat: 2
    first: {{answers: {{model: base}}, student: {{model: base}}}}
    steps:
      answers: {{generate: respond, from: prompts, model: previous.student, logprobs: 0, record_tokens: true}}
      checked: {{verify: constraints, from: answers}}
      student: {{train: grpo, from: checked, model: previous.student, reward: passed_fraction,
               max_length: 128}}
  last: {{generate: respond, from: prompts, model: student}}
  beside: {{generate: respond, from: prompts, model: other}}
"""


class Recording:
    """An engine that records its requests."""

    def __init__(self, settings: EngineSettings) -> None:
        self.settings, self.seen, self.closed = settings, [], False
        self.capabilities, self.vocab_size = frozenset({"seed"}), 7

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        self.seen += [each.adapter for each in requests]
        return [Completion(each.id, "", (), "stop", 1) for each in requests]

    async def close(self) -> None:
        self.closed = True


class Table(ModelTable):
    """Students whose adapters need not be trained."""

    def weights(self, name: str) -> ModelWeights:
        adapter = None if name in self.plan.models else Path(f"/run/{name}")
        return ModelWeights(name, Path("/base"), "digest", adapter)


@pytest.fixture
def plan(make_model: Callable[..., Path], request: pytest.FixtureRequest) -> Plan:
    resident = str(getattr(request, "param", True)).lower()
    return make_plan(loads(FILE.format(base=make_model(), resident=resident), "file.yaml"), file="file.yaml")


def serving(plan: Plan) -> tuple[Serving, list[Recording]]:
    started: list[Recording] = []

    def start(settings: EngineSettings) -> Any:
        started.append(Recording(settings))
        return started[-1]

    return Serving(Table(plan, None), start), started  # type: ignore[arg-type]


def ask(engine: Any) -> None:
    asyncio.run(engine.generate([Request("r", 0, Sampling(max_tokens=1), prompt="a")]))


def test_one_engine_serves_a_model_and_its_students_by_their_adapters(plan: Plan) -> None:
    models, started = serving(plan)
    for name in ("base", "student_1", "student_2", "student_1", "other"):
        ask(models.engine(name))
    assert [each.settings.kind for each in started] == ["vllm", "synthetic"]
    assert started[0].settings.weights is not None
    assert started[0].settings.weights.adapter is None
    assert started[0].seen == [None, Path("/run/student_1"), Path("/run/student_2"), Path("/run/student_1")]
    assert started[1].seen == [None]


@pytest.mark.parametrize("plan", [False], indirect=True)
def test_without_it_each_has_an_engine_of_its_own(plan: Plan) -> None:
    models, started = serving(plan)
    for name in ("base", "student_1"):
        ask(models.engine(name))
    assert [each.settings.weights.adapter for each in started] == [None, Path("/run/student_1")]  # type: ignore[union-attr]
    assert [each.seen for each in started] == [[None], [None]]


def test_it_runs_until_no_later_step_needs_it(plan: Plan) -> None:
    models, started = serving(plan)
    models.engine("base"), models.engine("student_1")
    asyncio.run(models.release({"student_2"}))
    assert not started[0].closed
    models.engine("student_2")
    assert len(started) == 1
    asyncio.run(models.release(()))
    assert started[0].closed


@pytest.mark.parametrize(
    ("plan", "kept"), [(True, {"student_1", "student_2"}), (False, set())], indirect=["plan"]
)
def test_only_a_resident_engine_outlives_a_training(plan: Plan, kept: set[str], tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", name="alternating")
    todo = stages(plan, run)
    execution = RoundExecution(SimpleNamespace(plan=plan, run=run), SimpleNamespace())  # type: ignore[arg-type]
    trained = next(number for number, stage in enumerate(todo) if isinstance(stage.head.operator, Train))
    assert execution._needed(todo[trained:]) - {"other"} == kept
    assert execution._needed(todo[1:]) >= {"base"}
