"""MiSS and Bone: the same as PEFT's implementation, with its parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.bone import Bone
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.miss import MiSS
from gristmill.trainer.adapters.peft_files import save_adapter
from gristmill.trainer.model.linear import Linear

IDS = torch.randint(0, 300, (40,), generator=torch.Generator().manual_seed(3))


def _random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _peft(weight: Tensor, rank: int, block: Tensor, way: Any) -> nn.Module:
    """Return PEFT's layer over ``weight`` with the trained values ``block``."""
    from peft import MissConfig, get_peft_model

    plain = nn.Sequential(nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=torch.float64))
    plain[0].weight.data.copy_(weight)
    config = MissConfig(r=rank, init_weights=way, target_modules=["0"])
    model = get_peft_model(plain, config)
    (values,) = [each for name, each in model.named_parameters() if "miss_block" in name]
    assert values.shape == block.shape
    values.data = block.clone()
    return model


@pytest.mark.parametrize("columns", [12, 13])
def test_miss_is_pefts(columns: int) -> None:
    weight, x = _random(8, columns), _random(5, columns, seed=2)
    settings = AdapterSettings(kind="miss", rank=4)
    adapter = MiSS.over(Linear(weight, None, torch.float64), settings, 4, torch.Generator()).double()
    torch.testing.assert_close(adapter(x, lambda: weight, None), x @ weight.T)
    with torch.no_grad():
        adapter.b.copy_(_random(8, 4, seed=3))
    wanted = _peft(weight, 4, adapter.b.detach().T, True)(x)
    torch.testing.assert_close(adapter(x, lambda: weight, None), wanted)
    torch.testing.assert_close(x @ adapter.merged(weight).T, wanted)
    trained = [each.numel() for each in adapter.parameters() if each.requires_grad]
    assert trained == [MiSS.count(settings, (8, columns))]


def test_peft_loads_miss_as_a_lora(make_model, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    path, settings = make_model(), AdapterSettings(kind="miss", rank=5)
    weights = ModelWeights("base", path, "digest", None)
    model = load_adapted(weights, settings, seed=1, dtype=torch.float32, quantize="none")
    for _, linear in model.linears():
        nn.init.normal_(linear.adapter.b, std=0.1, generator=torch.Generator().manual_seed(4))
    save_adapter(model, tmp_path / "adapter", settings.peft(str(path)), IDS)
    plain = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    with torch.no_grad():
        theirs = PeftModel.from_pretrained(plain, tmp_path / "adapter")(IDS[None]).logits[0]
        torch.testing.assert_close(model.logits(IDS, [40]), theirs, atol=2e-3, rtol=1e-3)
    weights = ModelWeights("base", path, "digest", tmp_path / "adapter")
    again = load_adapted(weights, settings, seed=9, dtype=torch.float32, quantize="none")
    with torch.no_grad():
        assert torch.equal(again.logits(IDS, [40]), model.logits(IDS, [40]))


def _bone(weight: Tensor, rank: int) -> Bone:
    settings = AdapterSettings(kind="bone", rank=rank)
    adapter = Bone.over(Linear(weight, None, torch.float64), settings, rank, torch.Generator()).double()
    assert adapter.blocks.numel() == Bone.count(settings, tuple(weight.shape))  # type: ignore[arg-type]
    return adapter


def test_bone_is_pefts_with_its_weight_guide() -> None:
    weight, x = _random(8, 12), _random(5, 12, seed=2)
    adapter = _bone(weight, 4)
    torch.testing.assert_close(adapter(x, lambda: weight, None), x @ weight.T)
    adapter.blocks.data.copy_(_random(2, 4, 4, seed=3))
    wanted = _peft(weight, 4, adapter.blocks.detach(), "bat")(x)
    torch.testing.assert_close(adapter(x, lambda: weight, None), wanted)
    torch.testing.assert_close(x @ adapter.merged(weight).T, wanted)


def test_the_gradient_of_bone_is_that_of_its_definition() -> None:
    weight, x = _random(4, 6), _random(3, 6, seed=2).requires_grad_()
    adapter = _bone(weight, 2)
    adapter.blocks.data.copy_(_random(2, 2, 2, seed=3))
    assert torch.autograd.gradcheck(
        lambda x, blocks: torch.func.functional_call(
            adapter, {"blocks": blocks}, (x, lambda: weight, _random(4, seed=5))
        ),
        (x, adapter.blocks),
    )


class _Largest(TorchDispatchMode):
    """Notes the entries of the largest float32 tensor that is made."""

    entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and made.dtype == torch.float32:
            self.entries = max(self.entries, made.numel())
        return made


def test_the_passes_of_bone_form_an_eighth_of_a_weight_at_a_time_in_float32() -> None:
    weight, x = _random(64, 48).bfloat16(), _random(5, 48, seed=2).bfloat16().requires_grad_()
    adapter = _bone(weight, 4).float()
    with _Largest() as seen:
        y = adapter(x, lambda: weight, None)
        torch.autograd.backward(y, torch.ones_like(y))
    assert adapter.blocks.grad is not None
    assert 0 < seen.entries <= weight.numel() // 8


@pytest.mark.parametrize(("kind", "rank", "told"), [(Bone, 5, "blocks of 5 x 5"), (MiSS, 13, "rank 13")])
def test_a_rank_that_does_not_fit_is_refused(kind: Any, rank: int, told: str) -> None:
    linear = Linear(_random(8, 12), None, torch.float64)
    with pytest.raises(ModelError, match=told):
        kind.over(linear, AdapterSettings(kind=kind.__name__.lower(), rank=rank), rank, torch.Generator())
