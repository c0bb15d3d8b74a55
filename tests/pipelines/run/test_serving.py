"""Resolving a step's model name: the weights and the adapter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import save_file

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import Engine, EngineSettings, ModelWeights, Usage
from gristmill.contracts.outcomes import TableResult
from gristmill.pipelines import engines
from gristmill.pipelines.file.load import loads
from gristmill.pipelines.plan.make import make_plan
from gristmill.pipelines.plan.nodes import Carry, Plan
from gristmill.pipelines.run.outcomes import from_source
from gristmill.pipelines.run.serving import ModelTable, Serving
from gristmill.pipelines.run.verdicts import from_table_result
from gristmill.pipelines.store.damage import Damaged
from gristmill.pipelines.store.products import products_in
from gristmill.pipelines.store.run_directory import RunDirectory

FILE = """
gristmill: 1
name: served
models:
  base: {{engine: transformers, path: "{base}", max_model_len: 64}}
  tuned: {{engine: transformers, path: "{tuned}"}}
  remote: {{engine: openai, url: "http://127.0.0.1:9/v1", model: m}}
steps:
  rows: {{source: constraints, rows: 2}}
  first: {{train: sft, from: rows, model: base, max_length: 128, train_on: user}}
  second: {{train: sft, from: rows, model: first, max_length: 128, train_on: user}}
  asked: {{generate: respond, from: rows, model: second}}
"""


RESIDENT = """
gristmill: 1
name: resident
models:
  sampler: {path: smollm2-135m-instruct, resident: true, max_model_len: 64}
  learner: {path: smollm2-135m-instruct, resident: true, max_model_len: 64}
  longer:  {path: smollm2-135m-instruct, resident: true, max_model_len: 128}
  alone:   {path: smollm2-135m-instruct, max_model_len: 64}
steps:
  rows: {source: constraints, rows: 2}
"""


def adapter_at(path: Path, base: Path, value: float) -> Path:
    path.mkdir(parents=True)
    (path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    save_file({"lora": np.full(4, value, np.float32)}, path / "adapter_model.safetensors")
    return path


class Served:
    """A run of the file above whose store has both students as trained."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.base = base
        self.tuned = adapter_at(folder / "tuned", self.base, 1.0)
        self.spec = loads(FILE.format(base=self.base, tuned=self.tuned), "served.yaml")
        self.run = RunDirectory.create(folder / "run", name="served")
        self.plan = self.planned()
        self.trained = {name: self._train(name, value) for name, value in (("first", 2.0), ("second", 3.0))}

    def planned(self, **carry: Carry) -> Plan:
        return make_plan(self.spec, file="served.yaml", carry=carry)

    def table(self, **carry: Carry) -> ModelTable:
        return ModelTable(self.planned(**carry) if carry else self.plan, self.run)

    def _train(self, name: str, value: float) -> Path:
        fingerprint = self.plan.step(name).fingerprint
        store = self.run.begin_step(name, fingerprint)
        rows = from_table_result(from_source(pa.table({"n": [1]}), fingerprint, 0), TableResult())
        store.commit(rows, start=0, stop=1, basis="b", rows_in=1, usage=Usage())
        adapter_at(store.model, self.base, value)
        made = products_in(store.model, self.run.path)
        store.finish(operator="train: sft", one_to_one=False, seconds=1.0, summary={}, products=made)
        return store.model


@pytest.fixture
def served(tmp_path: Path, make_model: Callable[..., Path]) -> Served:
    return Served(tmp_path, make_model(name="base"))


def test_a_model_of_the_file_is_its_own_weights(served: Served) -> None:
    weights = served.table().weights("base")
    assert weights == ModelWeights("base", served.base, served.plan.models["base"].digest, None)


def test_an_adapter_that_the_file_names_lies_over_its_base(served: Served) -> None:
    weights = served.table().weights("tuned")
    assert (weights.path, weights.adapter) == (served.base, served.tuned)


def test_a_student_is_its_base_with_its_adapter(served: Served) -> None:
    table, plan = served.table(), served.plan
    first, second = table.weights("first"), table.weights("second")
    assert first == ModelWeights(
        "first", served.base, plan.step("first").fingerprint, served.trained["first"]
    )
    # The adapter of the last training includes that of the previous one.
    assert second == ModelWeights(
        "second", served.base, plan.step("second").fingerprint, served.trained["second"]
    )


def test_a_promoted_student_stands_in_for_its_model(served: Served) -> None:
    table = served.table(base=Carry(served.trained["first"], "d" * 32, "first"))
    weights = table.weights("base")
    assert (weights.path, weights.adapter) == (served.base, served.trained["first"])
    assert weights.digest == table.plan.models["base"].digest != served.plan.models["base"].digest


def test_a_promoted_student_stands_in_for_an_adapter_of_the_file(served: Served) -> None:
    table = served.table(tuned=Carry(served.trained["second"], "d" * 32, "second"))
    assert table.weights("tuned").adapter == served.trained["second"]
    assert table.weights("base").adapter is None


@pytest.mark.parametrize("name", ["first", "second"])
def test_a_student_is_served_as_its_base_is(served: Served, name: str) -> None:
    settings = served.table().settings(name)
    assert (settings.kind, settings.options) == ("transformers", {"max_model_len": 64})
    assert settings.weights is not None
    assert settings.weights.adapter == served.trained[name]


def test_models_of_the_same_weights_and_options_share_a_resident_engine(tmp_path: Path) -> None:
    """A promoted model and one that is pursued are one engine, with other adapters."""
    spec = loads(RESIDENT, "resident.yaml")
    run = RunDirectory.create(tmp_path / "run", name="resident")
    made: list[EngineSettings] = []

    def start(settings: EngineSettings) -> Engine:
        made.append(settings)
        return engines.start(EngineSettings("synthetic", None, {}))

    serving = Serving(ModelTable(make_plan(spec, file="resident.yaml"), run), start)
    for name in ("sampler", "learner", "longer", "alone"):
        serving.engine(name)
    assert [each.options["max_model_len"] for each in made] == [64, 128, 64]
    assert [each.options.get("resident", False) for each in made] == [True, True, False]
    asyncio.run(serving.release(["learner"]))
    serving.engine("learner")
    serving.engine("sampler")
    assert len(made) == 3
    asyncio.run(serving.release(["alone"]))
    serving.engine("sampler")
    assert len(made) == 4


def test_a_model_behind_a_server_has_no_weights_here(served: Served) -> None:
    settings = served.table().settings("remote")
    assert (settings.kind, settings.weights) == ("openai", None)


@pytest.mark.parametrize("promoted", [False, True])
def test_an_adapter_that_changed_is_never_served(served: Served, promoted: bool) -> None:
    file = served.trained["first"] / "adapter_model.safetensors"
    save_file({"lora": np.full(4, 9.0, np.float32)}, file)
    table = served.table(**({"base": Carry(file.parent, "d" * 32, "first")} if promoted else {}))
    with pytest.raises(Damaged, match=r"adapter_model\.safetensors is damaged"):
        table.weights("base" if promoted else "first")


def test_a_step_that_trains_nothing_is_no_model(served: Served) -> None:
    with pytest.raises(ModelError, match="rows is a step that does not train a model"):
        served.table().settings("rows")
