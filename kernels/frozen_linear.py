"""Frozen linear map without an adapter, as one autograd operation.

``y = x W^T + bias``. Nothing is saved for the backward pass: the weight is a function, called again there. A
quantized base is therefore dequantized twice per step, and no dequantized weight outlives a pass (as in
QLoRA, Dettmers et al., arXiv 2305.14314).

FLOP for M tokens, N x K weights: 2*M*K*N forward, 2*M*K*N backward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import forward_mode, products
from .cost import KernelCost
from .products import Weight


def frozen_linear(x: Tensor, weight: Callable[[], Weight], bias: Tensor | None) -> Tensor:
    """Apply the map to ``x`` (tokens, K): (tokens, N), of x's dtype.

    ``weight`` returns the frozen weight (N, K) in x's dtype, or packed. ``bias``: (N,), frozen.
    Differentiable once with respect to x.
    """
    y: Tensor = forward_mode.run(_FrozenLinear, x, weight, bias)
    return y


def cost(tokens: int, inputs: int, outputs: int, itemsize: int) -> KernelCost:
    """Cost of one pass, forward or backward, over (tokens, K = ``inputs``), without dequantization."""
    weights, narrow, wide = outputs * inputs, tokens * inputs, tokens * outputs
    return KernelCost((weights + narrow) * itemsize, wide * itemsize, 2 * tokens * weights)


class _FrozenLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Callable[[], Weight], bias: Tensor | None) -> Tensor:
        ctx.weight = weight
        return products.times(x, weight(), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        return products.back(d_y, ctx.weight()), None, None
