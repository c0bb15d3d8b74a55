"""Which trainings pack their weights, and that a training that goes on does as it began."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from gristmill.contracts.number_formats import fast_bfloat16
from gristmill.kernels.products import Packed
from gristmill.trainer import settings
from gristmill.trainer.forecast import prepacking
from gristmill.trainer.forecast.prepacking import choose_packed, packed_bytes
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.model.linear import Linear
from gristmill.trainer.model.loading import load_model
from gristmill.trainer.model.model_config import ModelConfig
from gristmill.trainer.parallel import Processes

CPU = torch.device("cpu")
native = pytest.mark.skipif(not fast_bfloat16(), reason="no bfloat16 products here")


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with bfloat16 products: what is chosen there can be seen on any."""
    monkeypatch.setattr(prepacking, "fast_bfloat16", lambda: True)
    monkeypatch.setattr(settings, "default_format", lambda cpu: "bfloat16")


def _step(**changes: Any) -> SupervisedFineTuning:
    small = {"adapter": {"rank": 4}, "batch_rows": 3, "max_length": 128, "checkpoint_every": 1}
    return SupervisedFineTuning.model_validate({"model": "base", "quantize": "none", **small, **changes})


@pytest.mark.parametrize(
    ("changes", "packed"),
    [
        ({}, True),
        ({"quantize": "nf4"}, True),
        ({"quantize": "nf4", "cache_dequantized": False}, False),  # memory is dearer than time
        ({"dtype": "fp32"}, False),
        ({"adapter": {"kind": "dora", "rank": 4}}, False),
        ({"adapter": {"kind": "delta"}}, False),
        ({"prepack_weights": False}, False),
        ({"prepack_weights": True, "adapter": {"kind": "delta"}}, False),
    ],
)
def test_weights_are_packed_where_it_saves_time(
    changes: dict[str, Any], packed: bool, fast: None, make_model, tmp_path: Path
) -> None:
    config = ModelConfig.read(make_model())
    assert choose_packed(_step(**changes), config, CPU, tmp_path / "products.json") is packed


def test_a_gpu_packs_nothing(fast: None, make_model, tmp_path: Path) -> None:
    config = ModelConfig.read(make_model())
    assert not choose_packed(_step(), config, torch.device("cuda"), tmp_path / "products.json")


def test_only_into_a_quarter_of_the_free_memory(
    fast: None, make_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, step = ModelConfig.read(make_model()), _step()
    needed, found = packed_bytes(step, config), []
    for free in (4 * needed, 4 * needed + 1):
        monkeypatch.setattr(prepacking, "free_memory", lambda device, free=free: free)
        found.append(choose_packed(step, config, CPU, tmp_path / f"{free}.json"))
    assert found == [False, True]
    monkeypatch.setattr(prepacking, "free_memory", lambda device: 0)
    assert choose_packed(step, config, CPU, tmp_path / f"{4 * needed + 1}.json")  # as it began
    assert choose_packed(_step(prepack_weights=True), config, CPU, tmp_path / "new.json")


def test_no_process_packs_what_another_one_cannot(
    fast: None, make_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All processes take part in the choice, also one whose processor has no bfloat16 products."""
    config, asked = ModelConfig.read(make_model()), []
    monkeypatch.setattr(Processes, "gather", lambda self, value: asked.append(value) or [value, True])
    for able in (False, True):
        monkeypatch.setattr(prepacking, "fast_bfloat16", lambda able=able: able)
        assert choose_packed(_step(), config, CPU, tmp_path / f"{able}.json") is able
    assert asked == [False, True]


@native
def test_the_packed_weights_take_what_the_plan_says(make_model) -> None:
    path = make_model()
    model = load_model(path, dtype=torch.bfloat16)
    for _, linear in model.linears():
        linear.pack()
    held = [each for _, linear in model.linears() if isinstance(each := linear.factor(), Packed)]
    values = sum(each.forward.numel() + each.backward.numel() for each in held)
    assert packed_bytes(_step(), ModelConfig.read(path)) == 2 * values


@native
@pytest.mark.parametrize("quantize", ["none", "nf4"])
def test_packing_changes_the_result_only_by_rounding(
    quantize: str, make_model, rows, stopping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, made, packs = make_model(), {}, []
    pack = Linear.pack
    monkeypatch.setattr(Linear, "pack", lambda self: (packs.append(self), pack(self)))
    for packed in (False, True):
        step = _step(prepack_weights=packed, quantize=quantize)
        context = stopping(tmp_path / f"{packed}", path)
        made[packed] = step.fit(pa.Table.from_pylist(rows), context)
        assert made[packed].metrics["weights_packed"] is packed
        assert (made[packed].metrics["dequantized_kept"]) is (quantize == "nf4" and not packed)
        assert bool(packs) is packed
    losses = [made[packed].history["loss"].to_pylist() for packed in (False, True)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
