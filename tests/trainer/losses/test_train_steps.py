"""Every objective as a ``train:`` step of a pipeline file: planning, and training of a tiny model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import gristmill
from gristmill.contracts import registry
from gristmill.contracts.inference import ModelWeights
from gristmill.pipelines.cli.main import main
from gristmill.trainer.step import TrainStep

TEXT = {"prompt": "ab", "response": "cd"}
PAIR = {"prompt": "ab", "chosen": "cd", "rejected": "xyz"}
SAMPLED = {"prompt": "ab", "response_tokens": [20, 21, 1], "logprobs": [-0.5] * 3, "topic": "a"}
#: The objective of a step, its parameters besides a model, and a row for it.
STEPS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "sft": ({}, TEXT),
    "text": ({"text": "body", "shuffle": False}, {"body": "abcd"}),
    "cft": ({}, {"question": "1+1?", "response": "3", "critique": "no, 2"}),
    "dpo": ({}, PAIR),
    "kto": ({"beta": 1.0}, TEXT | {"passed": True}),
    "grpo": ({"scale": "none", "group": "topic"}, SAMPLED),
    "reward": ({}, PAIR),
    "orpo": ({}, PAIR),
    "simpo": ({}, PAIR),
    "distill": ({"teacher": "other"}, TEXT),
    "weak_to_strong": ({}, TEXT),
    "asft": ({}, PAIR),
    "mft": ({"mask_token": "?", "mask": 0.1}, TEXT),
    "implicit_reward": ({"divergence": "hellinger"}, TEXT),
    "multitask": ({"task": "topic", "convergence": 1.0}, TEXT | {"topic": "a"}),
}
FILE = """
gristmill: 1
name: preferences
seed: 3
models:
  base: {{engine: transformers, path: "{model}", dtype: float32}}
steps:
  pairs: {{source: jsonl, path: "{rows}"}}
  student:
    {{train: dpo, from: pairs, model: base, beta: 0.2, learning_rate: 0.01, adapter: {{rank: 2}}, dtype: fp32,
      epochs: 8, max_length: 128}}
"""


def test_every_objective_is_a_step() -> None:
    assert set(registry.names("train")) == set(STEPS)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_of_each_objective_lowers_its_loss(
    name: str, make_model: Callable[..., Path], context
) -> None:
    options, row = STEPS[name]
    context.models["base"] = ModelWeights("base", make_model(), "digest", None)
    if name == "distill":
        other = make_model(name="other", num_hidden_layers=1)
        context.models["other"] = ModelWeights("other", other, "another", None)
    kind = registry.find("train", name)
    assert kind is not None
    small = {
        "adapter": {"rank": 4},
        "dtype": "fp32",
        "epochs": 10,
        "learning_rate": 1e-2,
        "schedule": "constant",
        "max_length": 128,
    }
    step = kind.model_validate({"model": "base", **small, **options})
    assert isinstance(step, TrainStep)
    rows = [{"_id": f"{n}", **_another(row, n)} for n in range(3)]
    trained = step.fit(pa.Table.from_pylist(rows), context)
    assert trained.metrics["loss_last"] < 0.8 * trained.metrics["loss_first"]
    assert (trained.adapter / "adapter_model.safetensors").exists()
    columns = set(trained.history.column_names)
    assert ({"margin", "accuracy"} <= columns) == (name in ("dpo", "orpo", "simpo", "reward", "asft"))


def _another(row: dict[str, Any], n: int) -> dict[str, Any]:
    """The row with longer texts, and a higher reward."""
    longer = {key: value + "ab" * n if isinstance(value, str) else value for key, value in row.items()}
    return longer | ({"topic": row["topic"], "reward": n} if "topic" in row else {})


def test_a_file_with_preferences_plans_and_trains(
    tmp_path: Path, make_model: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    rows, file = tmp_path / "pairs.jsonl", tmp_path / "preferences.yaml"
    lines = [{"prompt": "ab" * n, "chosen": "cd" * n, "rejected": "xyz"} for n in range(1, 5)]
    rows.write_text("\n".join(map(json.dumps, lines)))
    file.write_text(FILE.format(model=make_model(), rows=rows))
    assert main(["plan", str(file), "--trust"]) == 0
    assert "train: dpo" in capsys.readouterr().out
    run = gristmill.run(file, tmp_path / "run")
    assert run["student"].store.ledger().kept == 4
    history = run["student"].store.history
    import pyarrow.parquet as pq

    accuracy = pq.read_table(history)["accuracy"].to_pylist()
    assert accuracy[-1] == 1.0
