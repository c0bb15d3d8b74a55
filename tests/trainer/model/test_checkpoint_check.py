"""Checkpoints that are not what they seem: one clear error each, mostly from config and headers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gristmill.contracts.errors import ModelError
from gristmill.trainer.model.checkpoint_check import check_checkpoint
from gristmill.trainer.model.loading import load_model
from gristmill.trainer.model.quantize import quantize_model

LAYER = "model.layers.1.self_attn.q_proj.weight"


@pytest.fixture
def path(make_model: Callable[..., Path]) -> Path:
    return make_model()


def _set(path: Path, *gone: str, **changes: Any) -> Path:
    config = json.loads((path / "config.json").read_text())
    kept = {key: value for key, value in {**config, **changes}.items() if key not in gone}
    (path / "config.json").write_text(json.dumps(kept))
    return path


def _put(path: Path, tensors: dict[str, Tensor | None]) -> Path:
    """Write, replace or (None) remove tensors."""
    held = load_file(path / "model.safetensors")
    kept = {name: tensor for name, tensor in {**held, **tensors}.items() if tensor is not None}
    save_file(kept, path / "model.safetensors", metadata={"format": "pt"})
    return path


def _refused(path: Path, match: str) -> None:
    """Check that planning and loading give the same error."""
    with pytest.raises(ModelError, match=match) as planned:
        check_checkpoint(path)
    with pytest.raises(ModelError) as loaded:
        load_model(path, dtype=torch.float32)
    assert str(planned.value) == str(loaded.value)
    assert str(path) in str(planned.value)


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_whole_checkpoints_pass(family: str, make_model: Callable[..., Path]) -> None:
    check_checkpoint(make_model(family))
    check_checkpoint(make_model(family, name="sharded", shards="50KB"))


@pytest.mark.parametrize("format", ["nf4", "int8"])
@pytest.mark.parametrize("nested", [False, True])
def test_so_do_those_of_bitsandbytes(format: str, nested: bool, path: Path, tmp_path: Path) -> None:
    quantize_model(path, tmp_path / "q", format=format, nested=nested)
    check_checkpoint(tmp_path / "q")
    load_model(tmp_path / "q", dtype=torch.float32)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        (
            {"quant_method": "compressed-tensors", "format": "float-quantized"},
            r"quantized by 'compressed-tensors' \(float-quantized\).*give the model that it was quantized",
        ),
        ({"quant_method": "gptq", "bits": 4}, "quantized by 'gptq', which cannot be trained on"),
        ({"quant_method": "fp8", "fmt": "e4m3"}, r"quantized by 'fp8' \(e4m3\)"),
        ({"quant_method": "mxfp4"}, "quantized by 'mxfp4'"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "quantized to fp4, which is not supported"),
    ],
)
def test_weights_of_other_quantizers_are_refused_by_name(
    settings: dict[str, Any], match: str, path: Path
) -> None:
    _refused(_set(path, quantization_config=settings), match)


def test_so_are_their_tensors_where_the_config_does_not_say_so(path: Path) -> None:
    codes = torch.zeros(64, 64, dtype=torch.float8_e4m3fn)
    _refused(_put(path, {LAYER: codes}), rf"{LAYER} is quantized \(FP8\)")
    gptq = {LAYER: None, LAYER.replace("weight", "qweight"): torch.zeros(8, 64, dtype=torch.int32)}
    _refused(_put(path, gptq), r"q_proj\.qweight is quantized \(GPTQ or AWQ\)")


def test_codes_without_their_quantizer_are_refused(path: Path) -> None:
    _refused(_put(path, {LAYER: torch.zeros(64, 64, dtype=torch.int8)}), rf"{LAYER} is of type I8; supported")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"logit_scale": 0.0625}, "logit_scale = 0.0625, which is not understood"),
        ({"embedding_multiplier": 12.0}, "embedding_multiplier = 12.0"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping = 30.0"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5"),
        ({"num_experts": 8}, "num_experts = 8"),
        ({"attention_multiplier": 0.5}, "attention_multiplier = 0.5"),
        ({"no_rope_layers": [1, 0]}, r"no_rope_layers = \[1, 0\]"),
        (
            {"layer_types": ["full_attention", "linear_attention"]},
            "layer_types = .'full_attention', 'linear_attention'",
        ),
        (
            {"rope_parameters": {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {}}},
            "rotary settings by type",
        ),
        (
            {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}},
            "partial_rotary_factor = 0.5",
        ),
        ({"rope_parameters": {"rope_type": "linear"}}, "rotary setting factor = None"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rotary setting factor = None"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu'; supported: silu"),
        ({"model_type": "gpt2"}, "a model of type 'gpt2'; supported: llama"),
        (
            {"architectures": ["LlamaForSequenceClassification"]},
            r"LlamaForSequenceClassification, a classifier of sequences; only language models",
        ),
        ({"architectures": ["LlamaModel"]}, "LlamaModel, a model without a head"),
        ({"auto_map": {"AutoModelForCausalLM": "modeling.Own"}}, "Python code of its own .modeling.Own"),
        ({"rms_norm_eps": None}, "rms_norm_eps = None; supported: numbers above 0"),
        ({"hidden_size": "64"}, "hidden_size = '64'; supported: whole numbers above 0"),
    ],
)
def test_settings_that_are_not_computed_are_refused_by_name(
    changes: dict[str, Any], match: str, path: Path
) -> None:
    _refused(_set(path, **changes), match)


def test_settings_without_an_effect_pass(path: Path) -> None:
    _set(path, logit_scale=1.0, logits_scaling=None, num_experts=0, clip_qkv=None)
    check_checkpoint(
        _set(
            path,
            initializer_range=0.02,
            layer_types=["full_attention"] * 2,
            architectures=["LlamaForCausalLM"],
        )
    )


def test_an_absent_setting_has_the_default_of_the_family(path: Path) -> None:
    check_checkpoint(_set(path, "rms_norm_eps"))
    _refused(_set(path, "vocab_size"), r"config\.json says \[32000, 64\]")


def test_a_config_that_is_no_object_is_refused(path: Path) -> None:
    (path / "config.json").write_text("[1]")
    _refused(path, "cannot read config.json .it holds a list")


@pytest.mark.parametrize(
    ("name", "shape", "match"),
    [
        ("score.weight", (2, 64), r"has a tensor score\.weight \[2, 64\], which no decoder has"),
        ("vision_tower.patch.weight", (4, 4), r"vision_tower\.patch\.weight"),
        ("model.layers.2.mlp.up_proj.weight", (96, 64), "has a layer 2 .*num_hidden_layers = 2"),
        ("model.norm.weight", (65,), r"model\.norm\.weight is \[65\], but config\.json says \[64\]"),
        (LAYER, (64, 32), r"q_proj\.weight is \[64, 32\], but config\.json says \[64, 64\]"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(
    name: str, shape: tuple[int, ...], match: str, path: Path
) -> None:
    _refused(_put(path, {name: torch.zeros(shape)}), match)


@pytest.mark.parametrize(
    ("gone", "match"),
    [
        ("model.embed_tokens.weight", r"no tensor 'model\.embed_tokens\.weight'; is it complete"),
        ("lm_head.weight", r"no tensor 'lm_head\.weight'"),
    ],
)
def test_missing_tensors_are_refused(gone: str, match: str, path: Path) -> None:
    _refused(_put(path, {gone: None}), match)


def test_missing_layers_are_refused(path: Path) -> None:
    _refused(_set(path, num_hidden_layers=3), "no layer 2 of 3; is it complete")


def test_a_tensor_that_this_family_does_not_read_is_found_at_loading(path: Path) -> None:
    name = "model.layers.0.self_attn.q_norm.weight"
    check_checkpoint(_put(path, {name: torch.ones(16)}))
    with pytest.raises(ModelError, match=rf"tensors that training would leave out: {name};"):
        load_model(path, dtype=torch.float32)


def test_buffers_that_follow_from_the_config_are_no_such_tensors(path: Path) -> None:
    _put(path, {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)})
    check_checkpoint(path)
    load_model(path, dtype=torch.float32)


def test_a_head_beside_tied_embeddings_must_be_the_embeddings(make_model: Callable[..., Path]) -> None:
    path = make_model(tie_word_embeddings=True)
    held = load_file(path / "model.safetensors")["model.embed_tokens.weight"]
    load_model(_put(path, {"lm_head.weight": held.clone()}), dtype=torch.float32)
    with pytest.raises(ModelError, match=r"tie_word_embeddings.*lm_head\.weight differs"):
        load_model(_put(path, {"lm_head.weight": held + 1}), dtype=torch.float32)


def test_truncated_and_missing_files_are_refused(make_model: Callable[..., Path]) -> None:
    path = make_model(name="cut")
    whole = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(whole[:-1000])
    _refused(path, r"model\.safetensors is damaged or incomplete \(it has [\d,]+ bytes in place of")
    (path / "model.safetensors").write_bytes(whole[:40])
    _refused(path, "it ends within its header")
    sharded = make_model(name="sharded", shards="50KB")
    next(sharded.glob("model-00002-*")).unlink()
    _refused(sharded, r"there is no model-00002-.*which model\.safetensors\.index\.json names")


def test_a_folder_without_a_tokenizer_is_refused(path: Path) -> None:
    for file in path.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match=r"there is no tokenizer \(tokenizer\.json\); copy"):
        check_checkpoint(path)
