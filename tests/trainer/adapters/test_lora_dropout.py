"""LoRA Dropout: columns of A and rows of B are zero in a training pass, and nothing is outside of it."""

from __future__ import annotations

import torch
from torch import Tensor

from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.lora_dropout import LoRADropout
from gristmill.trainer.model.linear import Linear

SHAPE = (60, 50)


def _made(share: float) -> tuple[LoRADropout, Tensor]:
    weight = torch.zeros(SHAPE, dtype=torch.float64)
    settings = AdapterSettings(kind="lora_dropout", rank=3, factor_dropout=share)
    generator = torch.Generator().manual_seed(1)
    adapter = LoRADropout.over(Linear(weight, None, torch.float64), settings, 3, generator).double()
    torch.nn.init.normal_(adapter.b, generator=generator)
    return adapter, weight


def _map(adapter: LoRADropout, weight: Tensor) -> Tensor:
    """Return the matrix that the adapter applies in one pass."""
    return adapter(torch.eye(SHAPE[1], dtype=torch.float64), lambda: weight, None).T


def test_a_pass_drops_columns_of_a_and_rows_of_b_and_scales_the_rest() -> None:
    adapter, weight = _made(0.4)
    whole = adapter.merged(weight)
    torch.manual_seed(3)
    seen = _map(adapter, weight)
    rows, columns = (seen != 0).any(1), (seen != 0).any(0)
    for kept in (rows, columns):
        assert 0.4 < kept.double().mean() < 0.8
    inside = rows[:, None] & columns
    torch.testing.assert_close(seen[inside], whole[inside] / 0.6**2)
    assert torch.linalg.matrix_rank(seen.detach()) == 3
    assert not torch.equal(_map(adapter, weight), seen)
    adapter.eval()
    torch.testing.assert_close(_map(adapter, weight), whole)


def test_what_is_dropped_gets_no_gradient() -> None:
    adapter, weight = _made(0.4)
    seen = _map(adapter, weight)
    seen.square().sum().backward()
    assert adapter.a.grad is not None
    assert torch.equal((adapter.a.grad != 0).any(0), (seen != 0).any(0))
    assert adapter.low_rank(torch.float64) is None
