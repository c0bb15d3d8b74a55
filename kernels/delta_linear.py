"""Frozen linear map plus a trained dense change of its weight, as one autograd operation.

``y = x (W + D)^T + bias``. The sum is computed in D's dtype and rounded once to x's. This is the weight that
merging writes, so training sees the weight that will be served. The gradient treats the rounding as the
identity. The base may be quantized: it is dequantized again in the backward pass, and only ``x`` and D are
saved.

FLOP for M tokens and N x K weights: 2*M*K*N forward, 4*M*K*N backward. Bytes in addition to a plain linear
map: 4*N*K for D, twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import forward_mode, products
from .cost import KernelCost


def delta_linear(x: Tensor, weight: Callable[[], Tensor], bias: Tensor | None, delta: Tensor) -> Tensor:
    """Apply the changed map to ``x`` (tokens, K): (tokens, N), of x's dtype.

    ``weight`` returns the frozen weight (N, K). ``delta`` (N, K) may have higher precision than x (float32
    with bf16). Its gradient has its dtype.
    """
    y: Tensor = forward_mode.run(_DeltaLinear, x, weight, bias, delta)
    return y


def cost(tokens: int, inputs: int, outputs: int, itemsize: int, *, backward: bool = False) -> KernelCost:
    """Cost of one pass over (tokens, K = ``inputs``).

    The weights (N, K) have ``itemsize`` bytes each; the delta is float32.
    """
    weights, values = outputs * inputs, tokens * (inputs + outputs) * itemsize
    held = weights * (itemsize + 4)
    if backward:
        read = held + values
        return KernelCost(read, 4 * weights + tokens * inputs * itemsize, 4 * tokens * weights)
    return KernelCost(held + tokens * inputs * itemsize, tokens * outputs * itemsize, 2 * tokens * weights)


def _whole(weight: Callable[[], Tensor], delta: Tensor, dtype: torch.dtype) -> Tensor:
    return (weight() + delta).to(dtype)


class _DeltaLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Callable[[], Tensor], bias: Tensor | None, delta: Tensor
    ) -> Tensor:
        ctx.save_for_backward(x, delta)
        ctx.weight = weight
        return products.times(x, _whole(weight, delta, x.dtype), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        x, delta = ctx.saved_tensors
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = products.back(d_y, _whole(ctx.weight, delta, x.dtype))
        d_delta = (d_y.T @ x).to(delta.dtype) if ctx.needs_input_grad[3] else None
        return d_x, None, None, d_delta
