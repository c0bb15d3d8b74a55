"""Rounded factors are those of the present weights, whatever changed them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from gristmill.trainer.adapters.lora import LoRA
from gristmill.trainer.adapters.rounded_factors import round_factors
from gristmill.trainer.optimizers.optimizer_table import OPTIMIZERS

SCALE = 1.3


def adapter(seed: int = 0) -> LoRA:
    generator = torch.Generator().manual_seed(seed)
    made = LoRA((6, 8), rank=2, alpha=2 * SCALE, generator=generator)
    nn.init.normal_(made.b, generator=generator)
    return made


def right(made: LoRA, dtype: torch.dtype = torch.bfloat16) -> bool:
    """Whether the adapter uses its present factors."""
    found = made.low_rank(dtype)
    assert found is not None
    wanted = made.a.to(dtype), (made.b * SCALE).to(dtype)
    return torch.equal(found[3].a, wanted[0]) and torch.equal(found[3].b, wanted[1])


def test_factors_are_rounded_once() -> None:
    made = adapter()
    first = made.low_rank(torch.bfloat16)
    assert right(made)
    assert made.low_rank(torch.bfloat16)[3] is first[3]


# `paged_adamw` needs memory of CUDA; its update is an operation like those of the others.
@pytest.mark.parametrize("name", sorted(set(OPTIMIZERS) - {"paged_adamw"}))
def test_every_optimizer_is_noticed(name: str) -> None:
    made = adapter()
    made.low_rank(torch.bfloat16)
    optimizer = OPTIMIZERS[name]([{"params": [made.a, made.b], "rate": 1.0}])
    for parameter in (made.a, made.b):
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(0.1)
    assert right(made)


def replaced(made: LoRA) -> None:
    made.a = nn.Parameter(torch.ones(3, 8))
    made.b = nn.Parameter(torch.ones(6, 3))


CHANGES: dict[str, Callable[[LoRA], object]] = {
    "another rank": replaced,
    "a loaded state": lambda made: made.load(
        {"lora_A.weight": torch.ones(2, 8), "lora_B.weight": torch.ones(6, 2)}
    ),
    "another dtype": lambda made: made.double(),
    "nothing": lambda made: None,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("together", [False, True])
def test_a_change_is_noticed(change: str, together: bool) -> None:
    made, other = adapter(), adapter(1)
    for each in (made, other):
        each.low_rank(torch.bfloat16)
    CHANGES[change](made)
    if together:
        round_factors([None, made, other])
    assert right(made)
    assert right(other)


def test_those_that_changed_are_rounded_together_in_the_memory_that_they_have() -> None:
    made, unused = [adapter(seed) for seed in range(3)], adapter(9)
    kept = [each.low_rank(torch.bfloat16)[3] for each in made]
    with torch.no_grad():
        for each in made[:2]:
            each.a.mul_(2.0)
            each.b.add_(1.0)
    round_factors([*made, unused])
    for each, before in zip(made, kept):
        assert torch.equal(before.b, (each.b * SCALE).bfloat16())
        assert each.low_rank(torch.bfloat16)[3] is before


def test_a_float32_model_uses_a_itself() -> None:
    made = adapter()
    assert made.low_rank(torch.float32)[3].a.data_ptr() == made.a.data_ptr()
    with torch.no_grad():
        made.b.add_(1.0)
    round_factors([made])
    assert right(made, torch.float32)
