"""RMSNorm: a program processes several short rows at once, such as those of heads, or one long row."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .cast import nearest, wide

#: Number of programs in the backward pass: enough to fill a GPU, few enough to keep the partial sums small.
PROGRAMS = 512
#: Number of values that a program processes at once, in whole rows.
TILE = 2048


@triton.jit
def _forward(
    X, RESIDUAL, SUM, W, Y, SCALE, rows, size, epsilon,
    ADD: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)[None, :]
    at, inside = row[:, None] * size + column, (row[:, None] < rows) & (column < size)
    x = tl.load(X + at, mask=inside, other=0.0)
    if ADD:
        residual = tl.load(RESIDUAL + at, mask=inside, other=0.0).to(WIDE)
        x = nearest(x.to(WIDE) + residual, X.dtype.element_ty)
        tl.store(SUM + at, x, mask=inside)
    x = x.to(WIDE)
    scale = 1.0 / tl.sqrt(tl.sum(x * x, axis=1) / size + epsilon)
    tl.store(SCALE + row, scale, mask=row < rows)
    weight = tl.load(W + column, mask=column < size, other=0.0)
    # Rounded to the weight's dtype before the multiplication, and to the result's after it.
    normed = nearest(x * scale[:, None], W.dtype.element_ty).to(WIDE)
    tl.store(Y + at, nearest(normed * weight.to(WIDE), Y.dtype.element_ty), mask=inside)


@triton.jit
def _backward(
    UPSTREAM, D_SUM, X, W, SCALE, D_X, D_W, rows, size, each,
    ADD: tl.constexpr, TRAINED: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)[None, :]
    weight = tl.load(W + column, mask=column < size, other=0.0).to(WIDE)
    d_weight = tl.zeros((ROWS, BLOCK), dtype=WIDE)
    for start in range(program * each, tl.minimum(program * each + each, rows), ROWS):
        row = start + tl.arange(0, ROWS)
        at, inside = row[:, None] * size + column, (row[:, None] < rows) & (column < size)
        upstream = tl.load(UPSTREAM + at, mask=inside, other=0.0).to(WIDE)
        scale = tl.load(SCALE + row, mask=row < rows, other=0.0)[:, None]
        normed = tl.load(X + at, mask=inside, other=0.0).to(WIDE) * scale
        slope = upstream * weight
        d_x = (slope - normed * (tl.sum(slope * normed, axis=1) / size)[:, None]) * scale
        if ADD:
            d_x += tl.load(D_SUM + at, mask=inside, other=0.0).to(WIDE)
        tl.store(D_X + at, nearest(d_x, D_X.dtype.element_ty), mask=inside)
        if TRAINED:
            d_weight += upstream * nearest(normed, W.dtype.element_ty).to(WIDE)
    if TRAINED:
        tl.store(D_W + program * size + column, tl.sum(d_weight, axis=0)[None, :], mask=column < size)


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
        at_once, block, warps = _tile(size)
        _forward[(triton.cdiv(rows, at_once),)](
            x, x if residual is None else residual, total, weight, y, scale, rows, size, epsilon,
            ADD=residual is not None, WIDE=wide(x.dtype), ROWS=at_once, BLOCK=block, num_warps=warps,
        )  # fmt: skip
    return y, total, scale


def backward(
    upstream: Tensor, d_sum: Tensor | None, x: Tensor, weight: Tensor, scale: Tensor, trained: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of the normalized input and, if ``trained``, of the weight."""
    rows, size = x.shape
    d_x = torch.empty_like(x)
    at_once, block, warps = _tile(size)
    each = max(1, triton.cdiv(triton.cdiv(rows, at_once), PROGRAMS)) * at_once
    programs = triton.cdiv(rows, each)
    partial = scale.new_zeros((programs, size)) if trained else d_x
    if x.numel():
        _backward[(programs,)](
            upstream, x if d_sum is None else d_sum, x, weight, scale, d_x, partial, rows, size, each,
            ADD=d_sum is not None, TRAINED=trained, WIDE=wide(x.dtype), ROWS=at_once, BLOCK=block,
            num_warps=warps,
        )  # fmt: skip
    return d_x, partial.sum(0).to(weight.dtype) if trained else None


def _tile(size: int) -> tuple[int, int, int]:
    """Return the rows and the columns that a program processes at once, and its warps."""
    block = triton.next_power_of_2(size)
    rows = max(1, TILE // block)
    return rows, block, min(16, max(1, rows * block // 512))
