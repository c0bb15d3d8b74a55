"""The frozen map: values and gradients of the plain formula, and nothing saved for the backward pass."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gristmill.kernels.frozen_linear import cost, frozen_linear


def _random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("tokens", [0, 1, 4])
def test_values_and_gradients(tokens: int, with_bias: bool) -> None:
    x, weight, bias = _random(tokens, 5).requires_grad_(), _random(7, 5), _random(7) if with_bias else None
    y = frozen_linear(x, lambda: weight, bias)
    torch.testing.assert_close(y, x @ weight.T + (0 if bias is None else bias))
    assert torch.autograd.gradcheck(lambda x: frozen_linear(x, lambda: weight, bias), (x,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bitwise_what_torch_computes(dtype: torch.dtype) -> None:
    x, weight, bias = (_random(*shape).to(dtype) for shape in ((33, 70), (50, 70), (50,)))
    upstream, found = _random(33, 50).to(dtype), []
    for apply in (frozen_linear, lambda x, weight, bias: torch.nn.functional.linear(x, weight(), bias)):
        given = x.clone().requires_grad_()
        y = apply(given, lambda: weight, bias)
        found.append([y, *torch.autograd.grad(y, given, upstream)])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*found))


def test_nothing_is_saved_and_the_weight_is_asked_for_again() -> None:
    saved: list[Tensor] = []
    asked = 0
    x, weight = _random(4, 5).requires_grad_(), _random(7, 5)

    def fresh() -> Tensor:
        nonlocal asked
        asked += 1
        return weight.clone()

    def note(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        y = frozen_linear(x, fresh, None)
    assert saved == []
    assert asked == 1
    torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], torch.ones(4, 7).double() @ weight)
    assert asked == 2


def test_cost_counts_the_products() -> None:
    assert cost(10, 64, 32, 2).flop == 2 * 10 * 64 * 32
