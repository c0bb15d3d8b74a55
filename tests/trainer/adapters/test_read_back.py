"""A saved adapter is read back to the bit: in bf16, a rounded factor would give other logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.peft_files import adapted, save_adapter

METHODS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"kind": "rslora"},
    "dora": {"kind": "dora"},
    "lora_dropout": {"kind": "lora_dropout"},
    "dylora": {"kind": "dylora"},
    "kasa": {"kind": "kasa", "init": "truncated"},
    "loram": {"kind": "loram", "init": "pruned"},
    "miss": {"kind": "miss", "alpha": None},
    "pissa": {"init": "pissa"},
    "olora": {"init": "olora"},
    "loftq": {"init": "loftq"},
}


@pytest.mark.parametrize("method", METHODS)
def test_an_adapter_is_read_back_to_the_bit(method: str, make_model, tmp_path: Path) -> None:
    path = make_model()
    told = {"rank": 4, "alpha": 6, **METHODS[method]}
    settings = AdapterSettings.model_validate({key: value for key, value in told.items() if value})
    quantize = "nf4" if method == "loftq" else "none"
    model = load_adapted(
        ModelWeights("base", path, "digest", None), settings, seed=1, dtype=torch.bfloat16, quantize=quantize
    ).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for linear in adapted(model).values():
            for parameter in linear.adapter.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    trained = {name: dict(linear.adapter.named_parameters()) for name, linear in adapted(model).items()}
    kept = {name: {key: value.clone() for key, value in each.items()} for name, each in trained.items()}
    save_adapter(model, tmp_path / "adapter", settings.peft(str(path)), torch.arange(40))
    if method != "kasa":  # only its product is saved
        for name, values in kept.items():
            for key, value in values.items():
                assert torch.equal(trained[name][key], value)
