"""Adapters in a layout of their own: saved, continued, merged; over another base they are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.own_files import CONFIG, WEIGHTS, OwnAdapter, first_seed, save_own
from gristmill.trainer.adapters.training_record import TrainingRecord
from gristmill.trainer.merging.merge import merge
from gristmill.trainer.merging.own_source import TrainedOwnSource
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.model.loading import load_model

IDS = torch.randint(0, 300, (40,), generator=torch.Generator().manual_seed(3))
SETTINGS = AdapterSettings(kind="svft", svft_band=2, targets=("q_proj", "down_proj"))


def _load(path: Path, quantize: str, adapter: Path | None = None, seed: int = 1) -> Decoder:
    weights = ModelWeights("base", path, "digest", adapter)
    return load_adapted(weights, SETTINGS, seed=seed, dtype=torch.float32, quantize=quantize)


def _trained(path: Path, out: Path, quantize: str = "none") -> Decoder:
    model = _load(path, quantize)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    save_own(model, out, str(path), TrainingRecord(SETTINGS, 1, quantize, (), "fp32"))
    return model


def _logits(model: Decoder) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(IDS, [len(IDS)])


@pytest.mark.parametrize("quantize", ["none", "nf4"])
def test_what_is_saved_is_continued_and_merged(quantize: str, make_model, tmp_path: Path) -> None:
    path = make_model()
    model = _trained(path, tmp_path / "adapter", quantize)
    trained = _logits(model)
    assert (trained - _logits(_load(path, quantize))).abs().max() > 0.1
    again = _load(path, quantize, tmp_path / "adapter", seed=99)
    torch.testing.assert_close(_logits(again), trained)
    merge(path, [tmp_path / "adapter"], tmp_path / "merged", into="trained")
    merged = load_model(tmp_path / "merged", dtype=torch.float32)
    torch.testing.assert_close(_logits(merged), trained, atol=1e-4, rtol=1e-4)
    assert first_seed(ModelWeights("base", path, "digest", tmp_path / "adapter"), 99) == 1


def test_over_a_quantized_base_the_original_gets_the_same_change(make_model, tmp_path: Path) -> None:
    path = make_model()
    model = _trained(path, tmp_path / "adapter", "nf4")
    merge(path, [tmp_path / "adapter"], tmp_path / "merged")
    before, after = (load_model(each, dtype=torch.float32) for each in (path, tmp_path / "merged"))
    pairs = zip(model.linears(), before.linears(), after.linears())
    for (name, linear), (_, old), (_, new) in pairs:
        change = new.weight() - old.weight()
        if linear.adapter is None:
            assert not change.any()
        else:
            wanted = linear.adapter.merged(linear.weight()) - linear.weight()
            torch.testing.assert_close(change, wanted, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("quantize", ["none", "nf4"])
@pytest.mark.parametrize(
    "given",
    [
        {"kind": "svft"},
        {"kind": "loldu"},
        {"kind": "bone", "rank": 8},
        {"kind": "dota"},
        {"kind": "dsee"},
        {"kind": "l4q", "l4q_group": 8},
        {"kind": "quanta"},
        {"kind": "s2ft"},
    ],
    ids=lambda given: given["kind"],
)
def test_the_change_is_computed_from_what_a_training_in_bf16_computed_with(
    given: dict[str, Any], quantize: str, make_model, tmp_path: Path
) -> None:
    path, settings = make_model(), AdapterSettings.model_validate(given)
    weights = ModelWeights("base", path, "digest", None)
    model = load_adapted(weights, settings, seed=1, dtype=torch.bfloat16, quantize=quantize)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)
    save_own(model, tmp_path / "adapter", str(path), TrainingRecord(settings, 1, quantize, (), "bf16"))
    source, stored = TrainedOwnSource(tmp_path / "adapter"), load_file(path / "model.safetensors")
    for layer, linear in model.linears():
        name = f"model.{layer}.weight"
        if name in source.names:
            base = source.base(name, stored[name])
            assert torch.equal(base, linear.weight().float())
            wanted = linear.adapter.merged(base)
            torch.testing.assert_close(base + source.change(name, base), wanted, atol=1e-6, rtol=1e-6)
    merge(path, [tmp_path / "adapter"], tmp_path / "merged", into="trained")


def test_another_base_is_refused(make_model, tmp_path: Path) -> None:
    path = make_model()
    _trained(path, tmp_path / "adapter")
    other = shutil.copytree(path, tmp_path / "other")
    (file,) = other.glob("*.safetensors")
    save_file({name: tensor.flip(0) for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    for into in ("original", "trained"):
        with pytest.raises(ModelError, match=r"over this base its change of .* is not the trained one"):
            merge(other, [tmp_path / "adapter"], tmp_path / "merged", into=into)
    with pytest.raises(ModelError, match="give --into trained"):
        merge(path, [tmp_path / "adapter"], tmp_path / "merged", into="nf4")
    assert not (tmp_path / "merged").exists()


def test_other_settings_are_not_continued(make_model, tmp_path: Path) -> None:
    path = make_model()
    _trained(path, tmp_path / "adapter")
    weights = ModelWeights("base", path, "digest", tmp_path / "adapter")
    other = AdapterSettings(kind="svft", targets=("q_proj", "down_proj"))
    with pytest.raises(ModelError, match="only with the same settings"):
        load_adapted(weights, other, seed=1, dtype=torch.float32, quantize="none")


def test_damage_is_found(make_model, tmp_path: Path) -> None:
    _trained(make_model(), tmp_path / "adapter")
    file = tmp_path / "adapter" / WEIGHTS
    tensors = load_file(file)
    tensors["layers.0.mlp.down_proj.bands"][0, 0] += 1
    save_file(tensors, file)
    with pytest.raises(ModelError, match="is damaged"):
        OwnAdapter(tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / CONFIG).read_text())
    (tmp_path / "adapter" / CONFIG).write_text(json.dumps({**config, "format": "other"}))
    with pytest.raises(ModelError, match="its format is 'other'"):
        OwnAdapter(tmp_path / "adapter")
