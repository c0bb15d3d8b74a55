"""A product with a matrix that is formed from fewer values."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gristmill.kernels.formed_linear import cost, formed_linear


def _random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _outer(left: Tensor, right: Tensor) -> Tensor:
    return left.sin() @ right


VALUES = _random(3, 2, seed=2), _random(2, 4, seed=3)


def test_gradcheck() -> None:
    x, *values = (each.clone().requires_grad_() for each in (_random(5, 4), *VALUES))
    assert torch.autograd.gradcheck(lambda x, *values: formed_linear(x, _outer, *values), (x, *values))
    torch.testing.assert_close(formed_linear(x, _outer, *values), x @ _outer(*values).T)


def test_only_the_input_and_the_values_are_kept() -> None:
    x, *values = (each.clone().requires_grad_() for each in (_random(5, 4), *VALUES))
    kept: list[tuple[int, ...]] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(tuple(t.shape)) or t, lambda t: t):
        formed_linear(x, _outer, *values)
    assert kept == [(5, 4), (3, 2), (2, 4)]


@pytest.mark.parametrize("tokens", [0, 1, 6])
def test_in_bf16_the_matrix_is_formed_in_the_dtype_of_the_values(tokens: int) -> None:
    x = _random(tokens, 4).bfloat16().requires_grad_()
    values = [each.float().requires_grad_() for each in VALUES]
    y = formed_linear(x, _outer, *values)
    matrix = _outer(*values).bfloat16()
    assert torch.equal(y, x @ matrix.T)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.ones_like(y) @ matrix)
    assert all(each.grad is not None and each.grad.dtype == torch.float32 for each in values)


def test_an_input_that_needs_no_gradient_gets_none() -> None:
    x, values = _random(5, 4), [each.clone().requires_grad_() for each in VALUES]
    formed_linear(x, _outer, *values).sum().backward()
    assert x.grad is None
    assert values[0].grad is not None


def test_cost_counts_the_matrix_and_what_forming_it_takes() -> None:
    forward, backward = cost(8, 4, 3, 2, forming=100), cost(8, 4, 3, 2, forming=100, backward=True)
    assert forward.flop == 2 * 8 * 12 + 100
    assert backward.flop == 4 * 8 * 12 + 300
