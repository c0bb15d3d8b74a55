"""RMSNorm (Zhang & Sennrich, arXiv 1910.07467), alone or of a sum with the residual stream.

Rounds as transformers does: normalized in float32, rounded to the weight's dtype, then multiplied by the
weight. So a float32 weight over a bfloat16 input is applied before the only rounding, as in Gemma and OLMo.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import dispatch, forward_mode
from .cost import KernelCost


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Compute ``weight * x / rms(x)`` over the last dimension.

    ``weight`` (H,) has the dtype of ``x`` (..., H), or the one that x is normalized in. The weight's gradient
    is computed only if it requires one. Raises ValueError for a weight that does not fit.
    """
    _check(x, weight)
    normed: Tensor = forward_mode.run(_RMSNorm, x, None, weight, epsilon)[0]
    return normed


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Return ``x + residual``, rounded to their dtype, and its :func:`rms_norm`, in one pass."""
    _check(x, weight)
    if residual.shape != x.shape or residual.dtype != x.dtype:
        raise ValueError(
            f"cannot add {tuple(x.shape)} {x.dtype} and {tuple(residual.shape)} {residual.dtype}"
        )
    normed, total = forward_mode.run(_RMSNorm, x, residual, weight, epsilon)
    return total, normed


def cost(
    rows: int, size: int, itemsize: int, *, add: bool = False, backward: bool = False, trained: bool = False
) -> KernelCost:
    """Cost of one pass over (rows, H = ``size``) values of ``itemsize`` bytes.

    ``add``: with the sum. ``trained``: with the gradient of the weight.
    """
    values = rows * size * itemsize
    if backward:
        read, written = values * (3 if add else 2) + 4 * rows, values
        return KernelCost(
            read + size * itemsize, written + (size * itemsize if trained else 0), 8 * rows * size
        )
    both = values * (2 if add else 1)
    return KernelCost(both + size * itemsize, both + 4 * rows, (5 if add else 4) * rows * size)


def _check(x: Tensor, weight: Tensor) -> None:
    if weight.shape != x.shape[-1:] or weight.dtype not in (
        x.dtype,
        torch.promote_types(x.dtype, torch.float32),
    ):
        raise ValueError(
            f"the weight {tuple(weight.shape)} {weight.dtype} does not fit x {tuple(x.shape)} {x.dtype}"
        )


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, residual: Tensor | None, weight: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor | None]:
        if dispatch.on_triton(x):
            from .gpu import rms_norm as gpu

            flat = x.reshape(-1, x.shape[-1]).contiguous()
            added = None if residual is None else residual.reshape(flat.shape).contiguous()
            y, total, scale = (
                part.view(*x.shape[:-1], part.shape[-1])
                for part in gpu.forward(flat, added, weight.contiguous(), epsilon)
            )
        else:
            total = x if residual is None else x + residual
            wide = total.to(torch.promote_types(x.dtype, torch.float32))
            scale = wide.square().mean(dim=-1, keepdim=True).add_(epsilon).rsqrt_()
            y = ((wide * scale).to(weight.dtype) * weight).to(x.dtype)
        ctx.save_for_backward(total, weight, scale)
        ctx.set_materialize_grads(False)
        return y, None if residual is None else total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor | None, d_sum: Tensor | None) -> tuple[Tensor | None, ...]:
        total, weight, scale = ctx.saved_tensors
        both = ctx.needs_input_grad[1]
        if upstream is None:
            return d_sum, d_sum if both else None, None, None
        trained = ctx.needs_input_grad[2]
        if dispatch.on_triton(total):
            from .gpu import rms_norm as gpu

            rows = (-1, total.shape[-1])
            d_flat, d_weight = gpu.backward(
                upstream.reshape(rows).contiguous(),
                None if d_sum is None else d_sum.reshape(rows).contiguous(),
                total.reshape(rows).contiguous(), weight.contiguous(), scale.reshape(-1, 1).contiguous(),
                trained,
            )  # fmt: skip
            d_x = d_flat.view(total.shape)
        else:
            d_x, d_weight = _plain_backward(upstream, total, weight, scale, trained)
            d_x = d_x if d_sum is None else d_x + d_sum
        return d_x, d_x if both else None, d_weight, None


def _plain_backward(
    upstream: Tensor, x: Tensor, weight: Tensor, scale: Tensor, trained: bool
) -> tuple[Tensor, Tensor | None]:
    slope = (upstream * weight).to(scale.dtype)
    normed = x * scale
    d_weight = None
    if trained:
        each = upstream.to(scale.dtype) * normed.to(weight.dtype)
        d_weight = each.sum_to_size(weight.shape).to(weight.dtype)
    along = (slope * normed).mean(dim=-1, keepdim=True)
    return slope.sub_(normed.mul_(along)).mul_(scale).to(x.dtype), d_weight
