"""Slopes of the cross-entropy, in place over the logits, and the gap: one program per token, two passes."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .cast import nearest, wide

#: Number of logits that a program processes at once.
BLOCK = 8192


@triton.jit
def _slopes(
    LOGITS, TARGETS, GAPS, FACTORS, size,
    SLOPED: tl.constexpr, SCALED: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    target = tl.load(TARGETS + row).to(tl.int32)
    aim = tl.load(LOGITS + row * size + target).to(WIDE)
    # The lowest finite number instead of -inf, since -inf minus -inf is NaN.
    top = tl.full((), -3.4e38, dtype=WIDE)
    total = tl.full((), 0.0, dtype=WIDE)
    for start in range(0, size, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(LOGITS + row * size + at, mask=at < size, other=float("-inf")).to(WIDE)
        # The target is left out here and not in the mask of the load, which would then be one by one.
        x = tl.where(at == target, float("-inf"), x)
        higher = tl.maximum(top, tl.max(x, axis=0))
        total = total * tl.exp(top - higher) + tl.sum(tl.exp(x - higher), axis=0)
        top = higher
    gap = top + tl.log(total) - aim
    tl.store(GAPS + row, gap)
    if SLOPED:
        factor = tl.full((), 1.0, dtype=WIDE)
        if SCALED:
            factor = tl.load(FACTORS + row).to(WIDE) / (1.0 + tl.exp(-gap))
        inverse = tl.where(total > 0, 1.0 / total, 0.0)
        for start in range(0, size, BLOCK):
            at = start + tl.arange(0, BLOCK)
            x = tl.load(LOGITS + row * size + at, mask=at < size, other=float("-inf")).to(WIDE)
            slope = tl.where(at == target, -1.0, tl.exp(x - top) * inverse) * factor
            tl.store(LOGITS + row * size + at, nearest(slope, LOGITS.dtype.element_ty), mask=at < size)


def slopes(logits: Tensor, targets: Tensor, factors: Tensor | None, sloped: bool) -> Tensor:
    """Replace contiguous ``logits`` (tokens, V), of any dtype, by the slopes if ``sloped``.

    The slopes are the softmax over the other logits, with -1 at the target, times ``factors`` (tokens,) and
    sigmoid(gap) if given. Returns the gaps (tokens,), float32 or float64.
    """
    tokens, size = logits.shape
    gaps = logits.new_empty(tokens, dtype=torch.promote_types(logits.dtype, torch.float32))
    if tokens:
        _slopes[(tokens,)](
            logits, targets, gaps, gaps if factors is None else factors, size, SLOPED=sloped,
            SCALED=factors is not None, WIDE=wide(logits.dtype),
            BLOCK=min(BLOCK, triton.next_power_of_2(size)), num_warps=8,
        )  # fmt: skip
    return gaps
