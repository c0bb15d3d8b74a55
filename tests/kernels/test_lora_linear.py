"""The LoRA map: values against the plain formula, gradients by gradcheck."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gristmill.kernels.lora_linear import lora_linear


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
