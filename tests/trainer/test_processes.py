"""Several processes train as one does, whatever their number, and whether the model is sharded or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from gristmill.contracts.training import Trained
from gristmill.trainer.methods.reward import RewardModelling
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.parallel import Processes
from gristmill.trainer.step import TrainStep

STEP: dict[str, Any] = {
    "model": "model",
    "batch_tokens": 200,
    "max_length": 128,
    "pack_tokens": 64,
    "learning_rate": 1e-2,
    "adapter": {"rank": 4, "alpha": 8},
    "dtype": "fp32",
    "quantize": "none",
    "checkpoint_every": 100,
}
DELTA = {"adapter": {"kind": "delta"}, "optimizer": "lion", "learning_rate": 1e-3}
#: `packs`: one pack per row, with dropout. `pairs`: at most two packs per step.
RUNS: dict[str, dict[str, Any]] = {
    "packs": {"pack_tokens": 1, "adapter": {"rank": 4, "alpha": 8, "dropout": 0.3}},
    "pairs": {"batch_rows": 2, "pack_tokens": 1},
    "nf4": {"quantize": "nf4", "shard": True, "adapter": {"rank": 4, "alpha": 8, "dropout": 0.3}},
    "dora": {
        "quantize": "int8", "shard": True, "adapter": {"kind": "dora", "rank": 4, "alpha": 8},
        "train_embeddings": True, "train_norms": True,
    },
    "delta": {**DELTA, "shard": True, "clip": 0.05},
    "best": {
        **DELTA, "shard": True, "evaluate_on": "other", "evaluate_every": 1, "keep_best": True,
    },
    "half": {**DELTA, "shard": True, "sparse": {"kind": "half"}, "activations": "recompute"},
}  # fmt: skip


#: A mixture of experts over 4 bits, a reward model whose norms are trained too, and an adapter in a layout of
#: its own, whose change is computed from whole weights when it is saved.
OTHER_RUNS: dict[str, dict[str, Any]] = {
    "moe": {"model": "moe", "quantize": "nf4", "shard": True, "activations": "recompute"},
    "judge": {"quantize": "int8", "shard": True, "train_norms": True, "epochs": 2},
    "own": {"quantize": "nf4", "shard": True, "adapter": {"kind": "loldu", "rank": 8}},
}
METHODS: dict[str, type[TrainStep]] = {"judge": RewardModelling}
MOE = {
    "head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 40,
    "norm_topk_prob": True,
}  # fmt: skip


def step_of(name: str, **changes: Any) -> TrainStep:
    settings = {**STEP, **(RUNS | OTHER_RUNS)[name], **changes}
    return METHODS.get(name, SupervisedFineTuning).model_validate(settings)


@pytest.fixture
def rows(rows) -> list[dict[str, Any]]:
    """Nine of the rows: each of the processes loads and trains many times."""
    return rows[:9]


@pytest.fixture
def other(rows) -> list[dict[str, Any]]:
    """Rows whose loss rises in training."""
    return [{**row, "response": "zyx"} for row in rows[:5]]


@pytest.fixture
def together(make_model, rows, other, pairs, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Train in ``size`` processes; the results by name."""
    make_model()
    make_model("qwen3_moe", name="moe", **MOE)
    for name, given in {"rows": rows, "other": other, "pairs": pairs}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(given))
    settings = {
        name: {
            "judges": name in METHODS,
            "step": step_of(name).model_dump(mode="json", exclude_unset=True),
        }
        for name in RUNS | OTHER_RUNS
    }
    (tmp_path / "settings.json").write_text(json.dumps(settings))

    def train(size: int, *runs: str) -> dict[str, Any]:
        script = Path(__file__).with_name("several_processes.py")
        done = subprocess.run(
            [sys.executable, "-P", str(script), str(tmp_path), str(size), *runs],
            env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
            capture_output=True,
            text=True,
            timeout=800,
        )
        assert done.returncode == 0, done.stderr
        return {
            run: json.loads((tmp_path / f"{run}-{size}.json").read_text()) for run in runs if "=" not in run
        }

    return train


def same(found: dict[str, Any], alone: Trained, folder: Path) -> None:
    """Losses agree to 1e-6, and weights to 2e-4 of the largest: gradients are summed in another order.

    Adam makes steps of the same size for tiny gradients, so that their rounding errors show in the weights.
    """
    theirs, ours = found["history"], alone.history.to_pydict()
    assert theirs["rows"] == ours["rows"]
    assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-6)
    assert theirs["gradient_norm"] == pytest.approx(ours["gradient_norm"], rel=1e-5)
    measured = [[each or 0.0 for each in history["held_out_loss"]] for history in (theirs, ours)]
    assert measured[0] == pytest.approx(measured[1], rel=1e-6)
    for one, other in zip(theirs["row_loss"], ours["row_loss"]):
        assert one == pytest.approx(other, rel=1e-5)
    (file,) = alone.adapter.glob("*.safetensors")
    saved = load_file(folder / "adapter" / file.name)
    for key, value in load_file(file).items():
        assert value.shape == saved[key].shape, key
        if value.numel() and not key.endswith(".indices"):  # a delta of zeros has no values
            assert (value - saved[key]).abs().max() <= 2e-4 * value.abs().max(), key
    for name in ("trainable_parameters", "rows", "steps"):
        assert found["metrics"][name] == alone.metrics[name]


def test_two_and_four_processes_train_as_one_does_and_go_on_from_each_others_checkpoints(
    together, stopping, rows, other, tmp_path: Path
) -> None:
    """Four processes stop in the middle of three runs, and two go on from their checkpoints."""
    table = pa.Table.from_pylist(rows)
    four = together(4, "packs", "nf4=1", "delta=2", "best=2")
    first = {name: (tmp_path / name).rename(tmp_path / f"{name} of four") for name in four}
    two = together(2, *RUNS)
    for name, changes in RUNS.items():
        step = step_of(name, shard="auto")
        bench = stopping(
            tmp_path / f"{name} alone", tmp_path / "model", tables={"other": pa.Table.from_pylist(other)}
        )
        alone = step.fit(table, bench)
        assert alone.metrics["sharded"] is False
        assert two[name]["metrics"]["sharded"] is ("shard" in changes)
        same(two[name], alone, tmp_path / name)
        if name in first:
            same(four[name], alone, first[name])
        if name == "best":
            losses = alone.history["held_out_loss"].to_pylist()
            assert alone.metrics["held_out_loss"] == min(losses) < losses[-1], "this test restores weights"
            assert two[name]["metrics"]["held_out_loss"] == pytest.approx(min(losses), rel=1e-6)
        if name == "pairs":
            (file,) = (tmp_path / name / "adapter").glob("*.safetensors")
            (ours,) = alone.adapter.glob("*.safetensors")
            assert file.read_bytes() == ours.read_bytes()


def test_other_models_and_adapters_are_sharded(together, stopping, rows, pairs, tmp_path: Path) -> None:
    """All are stopped after a step, and go on from their checkpoints."""
    two = together(2, *(f"{name}=1" for name in OTHER_RUNS), *OTHER_RUNS)
    for name, run in OTHER_RUNS.items():
        table = pa.Table.from_pylist(pairs if name in METHODS else rows)
        model = tmp_path / str(run.get("model", "model"))
        alone = step_of(name, shard="auto").fit(table, stopping(tmp_path / f"{name} alone", model))
        assert (two[name]["metrics"]["sharded"], alone.metrics["sharded"]) == (True, False)
        same(two[name], alone, tmp_path / name)


def test_packs_are_shared_by_their_tokens() -> None:
    costs = [9, 1, 7, 5, 5, 3]
    shares = Processes(0, 2).shares(costs)
    assert shares == [[0, 1, 4], [2, 3, 5]]
    assert Processes(0, 4).shares([2, 2]) == [[0], [1], [], []]
    assert Processes().shares([1, 5, 3]) == [[0, 1, 2]]
