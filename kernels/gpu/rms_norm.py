"""RMSNorm: one row per program forward; several rows per program backward, for the weight's gradient."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .cast import nearest, wide

#: Number of programs in the backward pass: enough to fill a GPU, few enough to keep the partial sums small.
PROGRAMS = 512


@triton.jit
def _forward(
    X, RESIDUAL, SUM, W, Y, SCALE, size, epsilon, ADD: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    inside = at < size
    x = tl.load(X + row * size + at, mask=inside, other=0.0)
    if ADD:
        x = nearest(
            x.to(WIDE) + tl.load(RESIDUAL + row * size + at, mask=inside, other=0.0).to(WIDE),
            X.dtype.element_ty,
        )
        tl.store(SUM + row * size + at, x, mask=inside)
    x = x.to(WIDE)
    scale = 1.0 / tl.sqrt(tl.sum(x * x, axis=0) / size + epsilon)
    tl.store(SCALE + row, scale)
    kept: tl.constexpr = Y.dtype.element_ty
    weight = tl.load(W + at, mask=inside, other=0.0)
    # Rounded to the weight's dtype before the multiplication, and to the result's after it.
    normed = nearest(x * scale, W.dtype.element_ty).to(WIDE)
    tl.store(Y + row * size + at, nearest(normed * weight.to(WIDE), kept), mask=inside)


@triton.jit
def _backward(
    UPSTREAM, D_SUM, X, W, SCALE, D_X, D_W, rows, size, each,
    ADD: tl.constexpr, TRAINED: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    inside = at < size
    weight = tl.load(W + at, mask=inside, other=0.0).to(WIDE)
    d_weight = tl.zeros((BLOCK,), dtype=WIDE)
    for row in range(program * each, tl.minimum(program * each + each, rows)):
        upstream = tl.load(UPSTREAM + row * size + at, mask=inside, other=0.0).to(WIDE)
        scale = tl.load(SCALE + row)
        normed = tl.load(X + row * size + at, mask=inside, other=0.0).to(WIDE) * scale
        slope = upstream * weight
        d_x = (slope - normed * (tl.sum(slope * normed, axis=0) / size)) * scale
        if ADD:
            d_x += tl.load(D_SUM + row * size + at, mask=inside, other=0.0).to(WIDE)
        tl.store(D_X + row * size + at, nearest(d_x, D_X.dtype.element_ty), mask=inside)
        if TRAINED:
            d_weight += upstream * nearest(normed, W.dtype.element_ty).to(WIDE)
    if TRAINED:
        tl.store(D_W + program * size + at, d_weight, mask=inside)


def forward(
    x: Tensor, residual: Tensor | None, weight: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normalized sum, the sum (``x`` itself without a residual), and 1 / rms (rows, 1).

    All other tensors are (rows, H), contiguous.
    """
    rows, size = x.shape
    y, total = torch.empty_like(x), x if residual is None else torch.empty_like(x)
    scale = x.new_empty((rows, 1), dtype=torch.promote_types(x.dtype, torch.float32))
    if x.numel():
        _forward[(rows,)](
            x, x if residual is None else residual, total, weight, y, scale, size, epsilon,
            ADD=residual is not None, WIDE=wide(x.dtype), BLOCK=triton.next_power_of_2(size),
            num_warps=_warps(size),
        )  # fmt: skip
    return y, total, scale


def backward(
    upstream: Tensor, d_sum: Tensor | None, x: Tensor, weight: Tensor, scale: Tensor, trained: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of the normalized input and, if ``trained``, of the weight."""
    rows, size = x.shape
    d_x = torch.empty_like(x)
    each = max(1, triton.cdiv(rows, PROGRAMS))
    programs = triton.cdiv(rows, each)
    partial = scale.new_zeros((programs, size)) if trained else d_x
    if x.numel():
        _backward[(programs,)](
            upstream, x if d_sum is None else d_sum, x, weight, scale, d_x, partial, rows, size, each,
            ADD=d_sum is not None, TRAINED=trained, WIDE=wide(x.dtype),
            BLOCK=triton.next_power_of_2(size), num_warps=_warps(size),
        )  # fmt: skip
    return d_x, partial.sum(0).to(weight.dtype) if trained else None


def _warps(size: int) -> int:
    warps: int = min(16, max(1, triton.next_power_of_2(size) // 512))
    return warps
