"""A student as a teacher: it gives the logits that it was trained to, whatever its adapter is like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.initialization import InitializationData
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.peft_files import save_adapter
from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.data.packs import Pack
from gristmill.trainer.losses.teacher import load_teacher
from gristmill.trainer.model.decoder import Decoder

IDS = torch.randint(0, 300, (40,), generator=torch.Generator().manual_seed(3))
#: Settings of PEFT's, with layers of other ranks and scales than the rest.
PATTERNS: dict[str, dict[str, Any]] = {
    "alphas": {"alpha_pattern": {"q_proj": 16}},
    "ranks": {"rank_pattern": {"layers.0.mlp.down_proj": 2}},
    "rslora": {"use_rslora": True, "alpha_pattern": {"q_proj": 16}},
    "dora": {"use_dora": True, "use_rslora": True, "rank_pattern": {"q_proj": 6}},
}


def _logits(model: Decoder) -> Tensor:
    with torch.no_grad():
        return model.logits(IDS, [len(IDS)])


def _teacher(path: Path, adapter: Path) -> Decoder:
    weights = ModelWeights("wise", path, "digest", adapter)
    return load_teacher(weights, dtype=torch.float32, quantize="none", device=torch.device("cpu"))


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora"])
def test_a_student_whose_layers_have_different_ranks_teaches(
    kind: str, make_model: Any, tmp_path: Path
) -> None:
    path = make_model()
    settings = AdapterSettings.model_validate(
        {"kind": kind, "init": "eva", "eva_spread": 2, "rank": 4, "alpha": 6}
    )
    sequence = TokenSequence(tuple(IDS.tolist()), (False, *[True] * (len(IDS) - 1)))
    data = InitializationData([Pack.of([Example("row", (sequence,))], torch.device("cpu"))])
    weights = ModelWeights("base", path, "digest", None)
    model = load_adapted(weights, settings, seed=1, data=data, dtype=torch.float32).eval()
    adapters = [linear.adapter for _, linear in model.linears()]
    assert len({0 if each is None else len(each.a) for each in adapters}) > 1
    generator = torch.Generator().manual_seed(2)
    for adapter in adapters:
        if adapter is not None:
            torch.nn.init.normal_(adapter.b, std=0.2, generator=generator)
    save_adapter(model, tmp_path / "student", settings.peft(str(path)), IDS)
    teacher = _teacher(path, tmp_path / "student")
    torch.testing.assert_close(_logits(teacher), _logits(model), atol=1e-5, rtol=1e-5)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def _made_by_peft(path: Path, adapter: Path, settings: dict[str, Any]) -> Tensor:
    """Save an adapter of PEFT's, and return its logits."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    targets = ["q_proj", "down_proj"]
    config = LoraConfig(r=4, lora_alpha=8, target_modules=targets, init_lora_weights=False, **settings)
    theirs = get_peft_model(plain, config).eval()
    theirs.save_pretrained(str(adapter))
    with torch.no_grad():
        logits: Tensor = theirs(IDS[None]).logits[0]
    return logits


@pytest.mark.parametrize("patterns", PATTERNS)
def test_an_adapter_of_peft_teaches_with_the_ranks_and_scales_of_its_layers(
    patterns: str, make_model: Any, tmp_path: Path
) -> None:
    path = make_model()
    wanted = _made_by_peft(path, tmp_path / "a", PATTERNS[patterns])
    torch.testing.assert_close(_logits(_teacher(path, tmp_path / "a")), wanted, atol=1e-4, rtol=1e-4)


def test_an_adapter_that_contradicts_its_settings_does_not_teach(make_model: Any, tmp_path: Path) -> None:
    path = make_model()
    _made_by_peft(path, tmp_path / "a", {})
    config = tmp_path / "a" / "adapter_config.json"
    config.write_text(config.read_text().replace('"rank_pattern": {}', '"rank_pattern": {"q_proj": 2}'))
    with pytest.raises(ModelError, match=r"does not fit layers\.0.*q_proj: rank 2 in its settings, 4 in"):
        _teacher(path, tmp_path / "a")
