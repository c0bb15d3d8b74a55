"""The decoder compared with transformers, packs compared with single sequences, and unsupported models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gristmill.contracts.errors import ModelError
from gristmill.trainer.model.loading import load_model
from gristmill.trainer.model.model_config import ModelConfig

IDS = torch.randint(0, 300, (48,), generator=torch.Generator().manual_seed(3))
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
CASES = {
    "llama": ("llama", {}),
    "tied": ("llama", {"tie_word_embeddings": True}),
    "biased": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "stretched": ("llama", {"rope_parameters": LLAMA3}),
    "interpolated": (
        "llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}},
    ),
    "mistral": ("mistral", {"head_dim": 24}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {"head_dim": 32}),
    "sharded": ("qwen2", {"shards": "50KB"}),
}


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_those_of_transformers(case: str, make_model) -> None:
    from transformers import AutoModelForCausalLM

    family, changes = CASES[case]
    path = make_model(family, **changes)
    assert (case == "sharded") == (path / "model.safetensors.index.json").exists()
    with torch.no_grad():
        expected = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)(IDS[None]).logits[0]
        found = load_model(path, dtype=torch.float32).logits(IDS, [len(IDS)])
    assert expected.std() > 0.1
    assert (found - expected).abs().max() < 1e-4


def test_a_pack_computes_what_its_sequences_would_alone(make_model) -> None:
    model = load_model(make_model(), dtype=torch.float32)
    lengths = [20, 1, 27]
    with torch.no_grad():
        packed = model.logits(IDS, lengths)
        alone = [model.logits(part, [len(part)]) for part in IDS.split(lengths)]
    torch.testing.assert_close(packed, torch.cat(alone), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kept", [False, True])
def test_an_nf4_base_computes_with_the_dequantized_weights(kept: bool, make_model) -> None:
    from gristmill.kernels import nf4

    path = make_model()
    dense = load_model(path, dtype=torch.float32)
    quantized = load_model(path, dtype=torch.float32, quantize="nf4", keep_dequantized=kept)
    for (_, plain), (name, packed) in zip(dense.linears(), quantized.linears()):
        assert isinstance(packed.base, nf4.NF4Tensor), name
        plain.base = nf4.dequantize(nf4.quantize(plain.base))
    with torch.no_grad():
        assert torch.equal(dense.logits(IDS, [48]), quantized.logits(IDS, [48]))


def _rewrite(path: Path, **changes: object) -> Path:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **changes}))
    return path


def test_another_family_is_refused_with_the_supported_ones(make_model) -> None:
    with pytest.raises(ModelError, match=r"'gpt2'.*supported: llama, mistral, qwen2, qwen3"):
        ModelConfig.read(_rewrite(make_model(), model_type="gpt2"))


def test_another_rotary_scaling_is_refused(make_model) -> None:
    with pytest.raises(ModelError, match=r"'spiral'.*supported: default, linear, llama3"):
        ModelConfig.read(_rewrite(make_model(), rope_parameters={"rope_type": "spiral", "rope_theta": 1e4}))


def test_a_checkpoint_without_a_tensor_is_refused(make_model) -> None:
    path = make_model()
    held = load_file(path / "model.safetensors")
    del held["model.layers.1.mlp.up_proj.weight"]
    save_file(held, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ModelError, match=r"no tensor 'model\.layers\.1\.mlp\.up_proj\.weight'; is it complete"
    ):
        load_model(path, dtype=torch.float32)


def test_a_directory_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json"):
        load_model(tmp_path, dtype=torch.float32)
