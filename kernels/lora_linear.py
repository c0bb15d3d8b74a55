"""A frozen linear map with a low-rank adapter over it, as one autograd operation.

``y = x W^T + bias + s (x A^T) B^T`` (Hu et al., "LoRA", arXiv 2106.09685). Only ``x`` and the adapter's
factors are saved: the weight is asked for again in the backward pass, so a quantized base is dequantized there
anew and never kept; ``x A^T`` is formed again, being cheaper than keeping. Small products come first, so no
dense weight gradient ever exists.

FLOP for M tokens, N x K weights, rank r: 2*M*K*N + 2*M*r*(K+N) forward, 2*M*K*N + 6*M*r*(K+N) backward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def lora_linear(
    x: Tensor,
    weight: Callable[[], Tensor],
    bias: Tensor | None,
    a: Tensor,
    b: Tensor,
    scale: float,
    adapter_x: Tensor | None = None,
) -> Tensor:
    """The adapted linear map of ``x`` (tokens, K): (tokens, N) of x's dtype.

    ``weight`` gives the frozen weight (N, K) in x's dtype. ``a`` (r, K) and ``b`` (N, r) may be wider than x
    (float32 beside bf16): they are rounded for the products, and their gradients come back in their own dtype.
    ``adapter_x``: what the adapter sees in place of ``x`` (x after dropout).
    """
    y: Tensor = _LoRALinear.apply(x, adapter_x, weight, bias, a, b, scale)  # type: ignore[no-untyped-call]
    return y


class _LoRALinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        adapter_x: Tensor | None,
        weight: Callable[[], Tensor],
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scale: float,
    ) -> Tensor:
        seen = x if adapter_x is None else adapter_x
        ctx.save_for_backward(seen, a, b)
        ctx.weight, ctx.scale, ctx.same = weight, scale, adapter_x is None
        y = x @ weight().T if bias is None else torch.addmm(bias, x, weight().T)
        return y.addmm_(seen @ a.to(x.dtype).T, (b * scale).to(x.dtype).T)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        seen, a, b = ctx.saved_tensors
        low_a, low_b = a.to(seen.dtype), (b * ctx.scale).to(seen.dtype)
        d_low = d_y @ low_b
        d_a = (d_low.T @ seen).to(a.dtype)
        d_b = (d_y.T @ (seen @ low_a.T)).to(b.dtype).mul_(ctx.scale)
        d_x = d_y @ ctx.weight() if ctx.needs_input_grad[0] else None
        d_seen = None
        if ctx.same and d_x is not None:
            d_x.addmm_(d_low, low_a)
        elif ctx.needs_input_grad[1]:
            d_seen = d_low @ low_a
        return d_x, d_seen, None, None, d_a, d_b, None
