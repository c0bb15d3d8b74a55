"""A linear map with a trained dense change."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gristmill.kernels.delta_linear import cost, delta_linear


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


@pytest.mark.parametrize("tokens", [0, 1, 6])
def test_few_tokens_none_and_views(tokens: int) -> None:
    generator = torch.Generator().manual_seed(2)
    wide, weight, delta = (
        torch.randn(*shape, generator=generator) for shape in ((5, 2 * tokens), (3, 5), (5, 3))
    )
    x, delta = wide.T[::2].requires_grad_(), delta.T.requires_grad_()
    y = delta_linear(x, lambda: weight, None, delta)
    torch.testing.assert_close(y, x @ (weight + delta).T)
    upstream = torch.randn(3, tokens, generator=generator).T
    plain = torch.autograd.grad(x @ (weight + delta).T, (x, delta), upstream)
    torch.testing.assert_close(torch.autograd.grad(y, (x, delta), upstream), plain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_worse_than_the_formula_of_that_precision(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    draws = [torch.randn(*shape, generator=generator) for shape in ((33, 70), (50, 70), (50, 70), (33, 50))]
    results = []
    for kind, low in ((torch.float32, dtype), (None, dtype), (torch.float64, torch.float64)):
        x, weight, upstream = (draws[place].to(dtype).to(low) for place in (0, 1, 3))
        delta = (draws[2] / 8).to(kind or low).requires_grad_()
        x.requires_grad_()
        y = (
            x @ (weight + delta).T
            if kind != torch.float32
            else delta_linear(x, lambda w=weight: w, None, delta)
        )
        results.append([y, *torch.autograd.grad(y, (x, delta), upstream)])
    for ours, theirs, truth in zip(*results):
        slack = 1e-6 if dtype == torch.float32 else 2e-3
        assert (ours - truth).abs().mean() <= (theirs - truth).abs().mean() + slack * truth.abs().mean()


def test_cost_counts_the_delta_beside_the_weight() -> None:
    found = cost(10, 4, 3, 2)
    assert (found.read, found.written, found.flop) == (12 * 6 + 10 * 4 * 2, 10 * 3 * 2, 2 * 10 * 12)
    assert cost(10, 4, 3, 2, backward=True).flop == 2 * found.flop
