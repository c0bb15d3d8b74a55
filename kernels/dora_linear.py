"""Frozen linear map with a weight-decomposed low-rank adapter (DoRA), as one autograd operation.

``y = g * (x W^T + s (x A^T) B^T) + bias`` with ``g = m / n``, where m is the trained magnitude of each row
and n the norms of the rows of ``W + s B A``. The gradient treats n as constant (Liu et al., "DoRA:
Weight-Decomposed Low-Rank Adaptation", arXiv 2402.09353, section 4.3).

The norms are computed from small products, ``|w_i|^2 + 2 s <b_i, (W A^T)_i> + s^2 b_i (A A^T) b_i^T`` with
``|w_i|^2`` cached, so no dense ``B A`` is formed. The weight is dequantized once forward and once backward,
as often as in :mod:`gristmill.kernels.lora_linear`.

FLOP in addition to LoRA's, for N x K weights and rank r: 2*N*K*r + 2*N*r*r + 2*K*r*r forward; 6*M*N for M
tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import forward_mode, lora_linear, products
from .cost import KernelCost

#: Norm that replaces the norm of a row of zeros, so that it stays zero and its gradient is finite.
SMALLEST_NORM = 1e-12


def row_norms(weight: Tensor, squares: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """Return the norms of the rows of ``weight + scale * b a``: (N,), in ``squares``' dtype.

    ``weight``: (N, K), any dtype. ``squares``: (N,), the squared norms of its rows. ``a``: (r, K). ``b``: (N,
    r).
    """
    cross = (weight @ a.to(weight.dtype).T).to(squares.dtype)
    b = b.to(squares.dtype)
    gram = (a @ a.T).to(squares.dtype)
    total = squares + 2 * scale * (b * cross).sum(1) + scale**2 * (b @ gram * b).sum(1)
    return total.clamp(min=SMALLEST_NORM**2).sqrt()


def cost(
    tokens: int, inputs: int, outputs: int, rank: int, itemsize: int, *, backward: bool = False
) -> KernelCost:
    """Cost of one pass: LoRA's, and the norms forward.

    The result before the gains is saved, and read in the backward pass.
    """
    plain = lora_linear.cost(tokens, inputs, outputs, rank, itemsize, backward=backward)
    values = tokens * outputs * itemsize
    if backward:
        return plain + KernelCost(values + 8 * outputs, 4 * outputs, 4 * tokens * outputs)
    norms = 2 * rank * (outputs * inputs + inputs * rank + outputs * rank)
    return plain + KernelCost(8 * outputs, values, norms + tokens * outputs)


def dora_linear(
    x: Tensor,
    weight: Callable[[], Tensor],
    bias: Tensor | None,
    a: Tensor,
    b: Tensor,
    magnitude: Tensor,
    scale: float,
    norms: Callable[[Tensor], Tensor],
    adapter_x: Tensor | None = None,
) -> Tensor:
    """Apply the adapted linear map to ``x`` (tokens, K): (tokens, N), of x's dtype.

    ``magnitude``: (N,), m. ``norms``: maps the weight (N, K) to n (N,). The other arguments are those of
    :func:`gristmill.kernels.lora_linear.lora_linear`.
    """
    y: Tensor = forward_mode.run(_DoRALinear, x, adapter_x, weight, bias, a, b, magnitude, scale, norms)
    return y


class _DoRALinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        adapter_x: Tensor | None,
        weight: Callable[[], Tensor],
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        magnitude: Tensor,
        scale: float,
        norms: Callable[[Tensor], Tensor],
    ) -> Tensor:
        seen = x if adapter_x is None else adapter_x
        dense = weight()
        norm = norms(dense)
        u = products.times(x, dense).addmm_(seen @ a.to(x.dtype).T, (b * scale).to(x.dtype).T)
        ctx.save_for_backward(seen, a, b, magnitude, norm, u)
        ctx.weight, ctx.scale, ctx.same = weight, scale, adapter_x is None
        # In the precision of the gains: in bf16, a gain could change only in steps of 2**-8.
        y = (u * (magnitude / norm)).to(x.dtype)
        return y if bias is None else y.add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        seen, a, b, magnitude, norm, u = ctx.saved_tensors
        d_magnitude = (d_y.to(norm.dtype) * u).sum(0).div_(norm).to(magnitude.dtype)
        d_u = (d_y * (magnitude / norm)).to(seen.dtype)
        low_a, low_b = a.to(seen.dtype), (b * ctx.scale).to(seen.dtype)
        d_low = d_u @ low_b
        d_a = (d_low.T @ seen).to(a.dtype)
        d_b = (d_u.T @ (seen @ low_a.T)).to(b.dtype).mul_(ctx.scale)
        d_x = products.back(d_u, ctx.weight()) if ctx.needs_input_grad[0] else None
        d_seen = None
        if ctx.same and d_x is not None:
            d_x.addmm_(d_low, low_a)
        elif ctx.needs_input_grad[1]:
            d_seen = d_low @ low_a
        return d_x, d_seen, None, None, d_a, d_b, d_magnitude, None, None
