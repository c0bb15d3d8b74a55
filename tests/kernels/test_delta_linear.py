"""A linear map with a trained dense change."""

from __future__ import annotations

import torch
from torch import Tensor

from gristmill.kernels.delta_linear import delta_linear


def test_gradcheck() -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight, delta, bias = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((5, 4), (3, 4), (3, 4), (3,))
    )

    def run(x: Tensor, delta: Tensor) -> Tensor:
        return delta_linear(x, lambda: weight, bias, delta)

    assert torch.autograd.gradcheck(run, [x.requires_grad_(), delta.requires_grad_()])
    torch.testing.assert_close(run(x, delta), x @ (weight + delta).T + bias)


def test_in_bf16_it_computes_with_the_sum_rounded_once() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(9, 16, generator=generator).bfloat16()
    weight = torch.randn(8, 16, generator=generator).bfloat16()
    delta = (torch.randn(8, 16, generator=generator) * 1e-2).requires_grad_()
    y = delta_linear(x, lambda: weight, None, delta)
    assert torch.equal(y, x @ (weight.float() + delta).bfloat16().T)
    y.float().sum().backward()
    assert delta.grad is not None
    assert delta.grad.dtype == torch.float32


def test_a_delta_that_is_frozen_or_an_input_that_needs_no_gradient_gets_none() -> None:
    x, delta = torch.ones(2, 3), torch.zeros(4, 3, requires_grad=True)
    delta_linear(x, lambda: torch.ones(4, 3), None, delta).sum().backward()
    assert x.grad is None
    torch.testing.assert_close(delta.grad, torch.full((4, 3), 2.0))
