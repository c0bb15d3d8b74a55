"""LoRAM: the adapter is trained over a pruned model, and applies to the whole one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.peft_files import read_adapter, save_adapter
from gristmill.trainer.adapters.training_record import TrainingRecord
from gristmill.trainer.merging.trained_source import TrainedSource
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.model.loading import load_model

SETTINGS = AdapterSettings(kind="loram", init="pruned", rank=4, alpha=6, prune_share=0.25)
IDS = torch.arange(20)


def _model(path: Path, adapter: Path | None = None) -> Decoder:
    weights = ModelWeights("base", path, "digest", adapter)
    return load_adapted(weights, SETTINGS, seed=1, dtype=torch.float32).eval()


def test_the_channels_that_are_left_are_those_of_the_original(make_model) -> None:
    path = make_model()
    model, original = _model(path), dict(load_model(path, dtype=torch.float32).linears())
    for number in range(2):
        mlp = f"layers.{number}.mlp"
        layers = {
            name: dict(model.linears())[f"{mlp}.{name}"] for name in ("gate_proj", "up_proj", "down_proj")
        }
        kept = layers["gate_proj"].adapter.channels
        assert len(kept.places) == 72, "three quarters of 96"
        assert all(torch.equal(layer.adapter.channels.places, kept.places) for layer in layers.values())
        for name, layer in layers.items():
            whole = original[f"{mlp}.{name}"].weight()
            part = whole[:, kept.places] if name == "down_proj" else whole[kept.places]
            assert torch.equal(layer.weight(), part)
    first, second = (
        dict(model.linears())[f"layers.{number}.mlp.up_proj"].adapter.channels.places for number in range(2)
    )
    assert not torch.equal(first, second)


def test_the_adapter_is_recovered_for_the_whole_model(make_model, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    path = make_model()
    model = _model(path)
    generator = torch.Generator().manual_seed(2)
    for _, linear in model.linears():
        torch.nn.init.normal_(linear.adapter.b, std=0.1, generator=generator)
    record = TrainingRecord(SETTINGS, 1, "none", (), "fp32")
    save_adapter(model, tmp_path / "adapter", SETTINGS.peft(str(path)), IDS, record)
    saved = read_adapter(tmp_path / "adapter")
    up = dict(model.linears())["layers.0.mlp.up_proj"]
    b = saved["base_model.model.model.layers.0.mlp.up_proj.lora_B.weight"]
    assert torch.equal(b[up.adapter.channels.places], up.adapter.b.detach())
    assert (b != 0).any(1).sum() == 72

    whole = load_model(path, dtype=torch.float32)
    source = TrainedSource(tmp_path / "adapter")
    for name, linear in whole.linears():
        base = source.base(f"model.{name}.weight", linear.weight())
        assert torch.equal(base, linear.weight())
        linear.base = source.adapter(f"model.{name}", linear.shape).merged(base)
    plain = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    with torch.no_grad():
        theirs = PeftModel.from_pretrained(plain, tmp_path / "adapter")(IDS[None]).logits[0]
        torch.testing.assert_close(theirs, whole.logits(IDS, [len(IDS)]), atol=2e-3, rtol=1e-3)
    with pytest.raises(ModelError, match="cannot continue from an adapter of init 'pruned'"):
        _model(path, tmp_path / "adapter")


def test_loram_needs_the_whole_mlp() -> None:
    with pytest.raises(ValueError, match="kind 'loram' and init 'pruned' belong together"):
        AdapterSettings(kind="loram")
    with pytest.raises(ValueError, match="must name gate_proj, up_proj and down_proj"):
        AdapterSettings(kind="loram", init="pruned", targets=("q_proj", "up_proj"))
