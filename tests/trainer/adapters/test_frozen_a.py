"""LoRA with a frozen A: only B is trained, and A is the same random matrix from the same seed."""

from __future__ import annotations

import torch

from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.lora import LoRA
from gristmill.trainer.adapters.parameter_groups import parameter_groups
from gristmill.trainer.model.linear import Linear

SHAPE = (7, 5)
WEIGHT = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))


def _made(**settings: object) -> LoRA:
    chosen = AdapterSettings.model_validate({"rank": 3, **settings})
    linear = Linear(WEIGHT, None, torch.float32)
    return LoRA.over(linear, chosen, 3, torch.Generator().manual_seed(2))


def test_only_b_is_trained_and_counted() -> None:
    adapter, plain = _made(freeze_a=True, b_rate=4), _made()
    assert torch.equal(adapter.a, plain.a)
    assert adapter.a.abs().min() > 0
    (group,) = parameter_groups(adapter)
    assert [id(each) for each in group["params"]] == [id(adapter.b)]
    assert group["rate"] == 4
    x = torch.randn(4, SHAPE[1], generator=torch.Generator().manual_seed(3))
    adapter(x, lambda: WEIGHT, None).square().sum().backward()
    assert adapter.a.grad is None
    assert adapter.b.grad is not None
    assert adapter.b.grad.abs().max() > 0
    assert LoRA.count(AdapterSettings(rank=3, freeze_a=True), SHAPE) == adapter.b.numel()


def test_both_factors_are_saved() -> None:
    adapter, other = _made(freeze_a=True), _made(freeze_a=True)
    with torch.no_grad():
        adapter.b.normal_(generator=torch.Generator().manual_seed(4))
        other.a.zero_()
    other.load(adapter.state())
    assert torch.equal(other.merged(WEIGHT), adapter.merged(WEIGHT))
