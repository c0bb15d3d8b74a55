"""Each low-rank method trains a few steps on ten rows, and resumes to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from gristmill.contracts.training import Trained
from gristmill.trainer.adapters.dylora import DyLoRA
from gristmill.trainer.methods.sft import SupervisedFineTuning

METHODS: dict[str, dict[str, Any]] = {
    "frozen A": {"adapter": {"freeze_a": True}},
    "lora dropout": {"adapter": {"kind": "lora_dropout", "factor_dropout": 0.3}},
    "dylora": {"adapter": {"kind": "dylora", "dylora_keep": 2}},
    "corda": {"adapter": {"init": "corda", "init_packs": 2}},
    "lora_ga": {"adapter": {"init": "lora_ga", "init_packs": 2}},
    "quailora": {"adapter": {"init": "quailora"}, "quantize": "nf4"},
    "lq_lora": {"adapter": {"init": "lq_lora", "loftq_turns": 2}, "quantize": "nf4"},
    "kasa": {"adapter": {"kind": "kasa", "init": "truncated"}, "quantize": "nf4"},
    "loram": {"adapter": {"kind": "loram", "init": "pruned"}, "quantize": "nf4"},
    "cola": {"adapter": {}, "sparse": {"kind": "cola", "every": 1}},
    "increlora": {"adapter": {}, "sparse": {"kind": "increlora", "every": 1, "mean_rank": 2}},
    "bottleneck": {"adapter": {"kind": "bottleneck", "bottleneck_form": "series"}, "quantize": "nf4"},
    "prefix": {"adapter": {"kind": "prefix", "prefix_tokens": 4}},
    "mam": {"adapter": {"kind": "mam", "prefix_tokens": 4}, "quantize": "int8"},
}
Fit = Callable[..., Trained]


@pytest.fixture
def fit(make_model, rows, stopping, tmp_path: Path) -> Fit:
    """Train on ten rows in a directory of ``tmp_path``; ``stop_at``: number of steps to stop after."""
    path, table = make_model(), pa.Table.from_pylist(rows[:10])

    def run(name: str, stop_at: int | None = None, **changes: Any) -> Trained:
        settings: dict[str, Any] = {"quantize": "none", "dtype": "fp32", **changes}
        small = {"rank": 4, "alpha": 8} if settings["adapter"].get("kind") != "prefix" else {}
        settings["adapter"] = small | settings["adapter"]
        shape = {"batch_tokens": 150, "max_length": 128, "pack_tokens": 128, "learning_rate": 1e-2}
        step = SupervisedFineTuning.model_validate({"model": "base", **shape, **settings})
        return step.fit(table, stopping(tmp_path / name, path, stop_at=stop_at))

    return run


@pytest.mark.parametrize("method", METHODS)
def test_ten_rows_train_and_resume_to_the_bit(method: str, fit: Fit, digest, stopped) -> None:
    whole = fit("whole", **METHODS[method])
    assert whole.metrics["steps"] >= 3
    with pytest.raises(stopped):
        fit("part", stop_at=2, **METHODS[method])
    torch.rand(3)
    assert digest(fit("part", **METHODS[method])) == digest(whole)


@pytest.mark.parametrize(("method", "saved"), [("frozen A", True), ("kasa", False), ("dylora", False)])
def test_moments_are_saved_beside_the_values_that_they_are_of(method: str, saved: bool, fit: Fit) -> None:
    """Of KaSA only a product is saved, and of DyLoRA here two of four ranks."""
    trained = fit("whole", **METHODS[method], max_steps=1, carry_optimizer=True)
    assert (trained.adapter / "optimizer.pt").exists() is saved


def test_dylora_trains_another_rank_in_each_step(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    plain = DyLoRA.begin_step

    def noted(self: DyLoRA, seed: int) -> None:
        plain(self, seed)
        drawn.append(self.drawn)

    monkeypatch.setattr(DyLoRA, "begin_step", noted)
    steps = fit("whole", **METHODS["dylora"], epochs=3).metrics["steps"]
    layers = len(drawn) // steps
    by_step = [set(drawn[start : start + layers]) for start in range(0, len(drawn), layers)]
    assert all(len(ranks) == 1 for ranks in by_step), "all layers have the same rank"
    assert len(set.union(*by_step)) > 1


def test_the_regularizers_of_kasa_are_part_of_each_step(fit: Fit) -> None:
    """B starts at zero, so that in the first step only a regularizer moves A."""
    found = {}
    for weight in (0.0, 0.1):
        adapter = METHODS["kasa"]["adapter"] | {"kasa_singular": 0.0, "kasa_orthogonal": weight}
        trained = fit(f"weight-{weight}", **METHODS["kasa"] | {"adapter": adapter}, max_steps=1)
        found[weight] = load_file(trained.adapter / "adapter_model.safetensors")
    factors = [name for name in found[0.0] if "lora_A" in name]
    assert factors
    for name in factors:
        assert (found[0.1][name] - found[0.0][name]).abs().max() > 1e-5, name
