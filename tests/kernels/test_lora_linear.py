"""The LoRA map: values against the plain formula, gradients by gradcheck."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gristmill.kernels.lora_linear import cost, lora_linear


def _random(*shape: int) -> Tensor:
    return torch.randn(
        shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64
    ).requires_grad_()


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("dropped", [False, True])
def test_lora_linear(with_bias: bool, dropped: bool) -> None:
    x, weight, a, b = _random(4, 5), _random(7, 5).detach(), _random(2, 5), _random(7, 2)
    bias = _random(7).detach() if with_bias else None

    def adapted(x: Tensor, seen: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return lora_linear(x, lambda: weight, bias, a, b, 1.7, seen if dropped else None)

    seen = _random(4, 5) + 1 if dropped else x
    plain = x @ weight.T + 1.7 * (seen @ a.T) @ b.T + (0 if bias is None else bias)
    torch.testing.assert_close(adapted(x, seen, a, b), plain)
    if dropped:
        assert torch.autograd.gradcheck(adapted, (x, seen.detach().requires_grad_(), a, b))
    else:
        assert torch.autograd.gradcheck(lambda x, a, b: adapted(x, x, a, b), (x, a, b))


def test_lora_gradients_keep_the_adapter_in_float32_beside_bf16() -> None:
    x, weight = torch.randn(6, 8).bfloat16(), torch.randn(3, 8).bfloat16()
    a, b = torch.randn(2, 8, requires_grad=True), torch.randn(3, 2, requires_grad=True)
    y = lora_linear(x, lambda: weight, None, a, b, 1.0)
    y.sum().backward()
    assert y.dtype == torch.bfloat16
    assert a.grad is not None
    assert a.grad.dtype == torch.float32
    expected = torch.ones(6, 3) @ b.detach()
    torch.testing.assert_close(a.grad, expected.T @ x.float(), atol=0.1, rtol=0.05)


@pytest.mark.parametrize("tokens", [0, 1, 6])
def test_few_tokens_none_and_views(tokens: int) -> None:
    x, weight = _random(5, 2 * tokens).detach().T[::2].requires_grad_(), _random(5, 7).detach().T
    a, b = _random(5, 2).detach().T.requires_grad_(), _random(2, 7).detach().T.requires_grad_()
    y, plain = lora_linear(x, lambda: weight, None, a, b, 1.7), x @ weight.T + 1.7 * (x @ a.T) @ b.T
    torch.testing.assert_close(y, plain)
    upstream = _random(7, tokens).detach().T
    torch.testing.assert_close(*(torch.autograd.grad(out, (x, a, b), upstream) for out in (y, plain)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_worse_than_the_formula_with_rounded_factors(dtype: torch.dtype) -> None:
    draws = [_random(*shape).detach() for shape in ((33, 70), (50, 70), (4, 70), (50, 4), (33, 50))]
    results = []
    for low, wide in ((dtype, torch.float32), (dtype, dtype), (torch.float64, torch.float64)):
        x, weight, upstream = (draws[place].to(dtype).to(low) for place in (0, 1, 4))
        a, b = (draws[place].float().to(wide).requires_grad_() for place in (2, 3))
        x.requires_grad_()
        if wide == torch.float32:
            y = lora_linear(x, lambda w=weight: w, None, a, b, 0.5)
        else:
            y = x @ weight.T + 0.5 * (x @ a.T) @ b.T
        results.append([y, *torch.autograd.grad(y, (x, a, b), upstream)])
    for ours, theirs, truth in zip(*results):
        slack = 1e-6 if dtype == torch.float32 else 2e-3
        assert (ours - truth).abs().mean() <= (theirs - truth).abs().mean() + slack * truth.abs().mean()


def test_cost_counts_the_products() -> None:
    assert cost(10, 64, 32, 4, 2).flop == 2 * 10 * 64 * 32 + 2 * 10 * 4 * (64 + 32)
    assert cost(10, 64, 32, 4, 2, backward=True).flop == 2 * 10 * 64 * 32 + 6 * 10 * 4 * (64 + 32)
