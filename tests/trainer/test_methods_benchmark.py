"""The benchmark of all methods: none is missing, settings are valid, and the table tells what it found."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
import torch

from gristmill.contracts.registry import find
from gristmill.trainer.adapters.adapter_names import Kind, Start
from gristmill.trainer.model.quantization import Quantization
from gristmill.trainer.optimizers.optimizer_names import OptimizerName
from gristmill.trainer.settings import TrainSettings
from gristmill.trainer.sparse.sparse_settings import Policy

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("methods")


@pytest.fixture
def table(benchmark: ModuleType) -> ModuleType:
    return importlib.import_module("methods_table")


@pytest.fixture
def steps(benchmark: ModuleType) -> dict[str, TrainSettings]:
    found = {}
    for name, method in benchmark.METHODS.items():
        given = benchmark.settings_of(method, Path("rows"), 32, 17)
        train = find("train", given.pop("train"))
        assert given.pop("data") == f"rows/{method.rows}.jsonl"
        assert given.pop("seed") == 17
        found[name] = train.model_validate({"model": "base", **given})
    return found


def test_each_method_is_there_once(steps: dict[str, TrainSettings]) -> None:
    assert {step.adapter.kind for step in steps.values()} == set(get_args(Kind))
    assert {step.adapter.init for step in steps.values()} == set(get_args(Start))
    assert {step.optimizer for step in steps.values()} == set(get_args(OptimizerName))
    assert {step.quantize for step in steps.values()} == set(get_args(Quantization))
    assert {step.sparse.kind for step in steps.values() if step.sparse} == set(get_args(Policy)) - {
        "graft"  # it works on a finished training
    }
    assert len({repr(step) for step in steps.values()}) == len(steps), "two methods are the same"


def test_all_methods_see_the_same_tokens(steps: dict[str, TrainSettings]) -> None:
    assert {(step.batch_tokens, step.max_steps) for step in steps.values()} == {(512, 32)}


def test_the_table_is_sorted_and_says_who_does_not_beat_lora(table: ModuleType) -> None:
    def run(method: str, passed: list[int], task_loss: float) -> dict[str, object]:
        return {
            "method": method, "passed": passed, "task_loss": task_loss, "prose_loss": 3.5, "seconds": 2.0,
            "trainable_parameters": 1000, "changed": 10, "peak_memory_mib": 100, "predicted_memory_mib": 90,
        }  # fmt: skip

    base = {"passed": [0] * 40, "task_loss": 2.0, "prose_loss": 3.0}
    runs = [run("worse", [0] * 40, 1.5)]
    for loss in (1.0, 1.2):
        runs += [
            run("LoRA", [1, 0] * 20, loss),
            run("better", [1] * 40, loss),
            run("equal", [0, 1] * 20, loss),
        ]
    lines = [line.split(" | ") for line in table.shown(runs, base).splitlines()[3:]]
    assert [line[0] for line in lines] == ["| better", "| LoRA", "| equal", "| worse"]
    assert lines[0][3].startswith("+0.500 [+0.3")
    assert lines[1][3] == ""
    assert lines[2][3].endswith(", not better")
    assert lines[3][3].endswith(", worse")
    assert lines[0][4] == "1.100 ± 1.271"  # Student's t of two: 12.706 * 0.1
    assert lines[3][4] == "1.500"
    assert lines[0][5] == "+0.500 ± 0.000"
    assert lines[0][6:] == ["1,000", "10", "100 ± 0", "90", "2 ± 0 |"]
    assert lines[3][6:] == ["1,000", "10", "100", "90", "2 |"]


def test_students_answer_as_transformers_generates(
    benchmark: ModuleType, make_model: Callable[..., Path]
) -> None:
    case, path = importlib.import_module("methods_case"), make_model()
    model = case.Measured(path, {}, None, torch.float32)
    items = [{"prompt": "mill " * count} for count in (1, 9, 4, 2)]
    prompts = [model.rendered(item["prompt"]) for item in items]
    batch = model.tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
    length = batch["input_ids"].shape[1]
    made = model.model.generate(**batch, max_new_tokens=case.ANSWER, do_sample=False)[:, length:].tolist()
    # A token that ends the answers at different places.
    end = max({token for row in made for token in row}, key=lambda token: len({*_places(made, token)}))
    model.tokenizer.eos_token_id = end
    places = _places(made, end)
    assert len(set(places)) > 2
    wanted = [
        model.tokenizer.decode(row[:place], skip_special_tokens=True) for row, place in zip(made, places)
    ]
    assert model.answers(items) == wanted


def _places(rows: list[list[int]], token: int) -> list[int]:
    return [row.index(token) if token in row else len(row) for row in rows]
