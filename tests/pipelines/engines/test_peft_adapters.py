from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from gristmill.contracts.errors import ModelError
from gristmill.pipelines.engines.peft_adapters import adapter_rank, merge


@pytest.fixture(scope="module")
def tiny() -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(config).eval()


KINDS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "ranks": {"rank_pattern": {"q_proj": 6}, "alpha_pattern": {"layers.1.mlp.down_proj": 5}},
    "parts": {"modules_to_save": ["embed_tokens", "norm", "lm_head"]},
}


@pytest.fixture(scope="module", params=KINDS)
def adapter(
    request: pytest.FixtureRequest, tiny: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Made by PEFT itself, with weights that are not zero."""
    from copy import deepcopy

    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=4,
        lora_alpha=12,
        target_modules=["q_proj", "down_proj"],
        init_lora_weights=False,
        **KINDS[request.param],
    )
    folder = tmp_path_factory.mktemp(request.param)
    model = get_peft_model(deepcopy(tiny), config)
    for name, parameter in model.named_parameters():
        if "magnitude" in name or "modules_to_save" in name:
            torch.nn.init.normal_(parameter, mean=1.0, std=0.3)
    model.save_pretrained(str(folder))
    return folder


def test_merged_is_what_peft_merges(tiny: torch.nn.Module, adapter: Path) -> None:
    from copy import deepcopy

    from peft import PeftModel

    ours = deepcopy(tiny)
    merge(ours, adapter)
    theirs = PeftModel.from_pretrained(deepcopy(tiny), str(adapter)).merge_and_unload()
    changed = 0
    for (name, mine), (_, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-5, msg=name)
        changed += not torch.equal(mine, dict(tiny.named_parameters())[name])
    assert changed == (11 if adapter.name.startswith("parts") else 4)


def altered(adapter: Path, target: Path, **settings: object) -> Path:
    shutil.copytree(adapter, target)
    config = json.loads((target / "adapter_config.json").read_text())
    (target / "adapter_config.json").write_text(json.dumps(config | settings))
    return target


@pytest.mark.parametrize(
    ("setting", "value"),
    [("use_dora", True), ("bias", "all"), ("rank_pattern", {"(q|down)_proj": 8})],
)
@pytest.mark.parametrize("adapter", ["lora"], indirect=True)
def test_what_cannot_be_merged_exactly_is_refused(
    tiny: torch.nn.Module, adapter: Path, tmp_path: Path, setting: str, value: object
) -> None:
    before = {name: weight.clone() for name, weight in tiny.named_parameters()}
    with pytest.raises(ModelError, match=r"cannot merge an adapter with biases|is it damaged"):
        merge(tiny, altered(adapter, tmp_path / "a", **{setting: value}))
    assert all(torch.equal(weight, before[name]) for name, weight in tiny.named_parameters())


@pytest.mark.parametrize("adapter", ["lora"], indirect=True)
def test_an_adapter_of_another_model_is_named(tiny: torch.nn.Module, adapter: Path, tmp_path: Path) -> None:
    from copy import deepcopy

    target = altered(adapter, tmp_path / "a")
    tensors = load_file(str(target / "adapter_model.safetensors"))
    name = next(name for name in tensors if "q_proj.lora_A" in name)
    save_file(tensors | {name: torch.zeros(4, 33)}, str(target / "adapter_model.safetensors"))
    with pytest.raises(ModelError, match=r"q_proj is \(32, 32\) in the model, \(32, 33\) in the adapter"):
        merge(deepcopy(tiny), target)
    save_file(
        {key.replace("layers.1.", "layers.9."): value for key, value in tensors.items()},
        str(target / "adapter_model.safetensors"),
    )
    with pytest.raises(ModelError, match="fits no layer of the model"):
        merge(deepcopy(tiny), target)
    headed = tensors | {"base_model.model.score.weight": torch.zeros(1, 32)}
    save_file(headed, str(target / "adapter_model.safetensors"))
    with pytest.raises(ModelError, match=r"score.weight fits no layer of the model"):
        merge(deepcopy(tiny), target)


@pytest.mark.parametrize("adapter", ["lora"], indirect=True)
def test_ranks_and_kinds(adapter: Path, tmp_path: Path) -> None:
    assert adapter_rank(adapter) == 4
    assert adapter_rank(altered(adapter, tmp_path / "a", rank_pattern={"q_proj": 16})) == 16
    with pytest.raises(ModelError, match="only LoRA adapters can be served; this one is 'IA3'"):
        adapter_rank(altered(adapter, tmp_path / "b", peft_type="IA3"))
    with pytest.raises(ModelError, match="init_lora_weights = 'olora', which changes the base"):
        adapter_rank(altered(adapter, tmp_path / "c", init_lora_weights="olora"))
    with pytest.raises(ModelError, match=r"adapter_config.json cannot be read"):
        adapter_rank(tmp_path)
    (tmp_path / "own_adapter.json").write_text('{"computes": {"kind": "mam"}}')
    with pytest.raises(ModelError, match=r"an adapter of kind 'mam'.*: give the model engine: transformers"):
        adapter_rank(tmp_path)
