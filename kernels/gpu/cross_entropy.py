"""Softmax over all logits except the target's, in place, and the gap: one program per token, two passes."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from .cast import wide

#: Number of logits that a program processes at once.
BLOCK = 8192


@triton.jit
def _others(LOGITS, TARGETS, GAPS, size, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    target = tl.load(TARGETS + row)
    aim = tl.load(LOGITS + row * size + target)
    # The lowest finite number instead of -inf, since -inf minus -inf is NaN.
    top = tl.full((), -3.4e38, dtype=WIDE)
    total = tl.full((), 0.0, dtype=WIDE)
    for start in range(0, size, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(LOGITS + row * size + at, mask=(at < size) & (at != target), other=float("-inf"))
        higher = tl.maximum(top, tl.max(x, axis=0))
        total = total * tl.exp(top - higher) + tl.sum(tl.exp(x - higher), axis=0)
        top = higher
    tl.store(GAPS + row, top + tl.log(total) - aim)
    inverse = tl.where(total > 0, 1.0 / total, 0.0)
    for start in range(0, size, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(LOGITS + row * size + at, mask=(at < size) & (at != target), other=float("-inf"))
        tl.store(LOGITS + row * size + at, tl.exp(x - top) * inverse, mask=at < size)


def others(logits: Tensor, targets: Tensor) -> Tensor:
    """Replace contiguous ``logits`` (tokens, V) by the softmax over the others, 0 at the target.

    Returns the gaps (tokens,).
    """
    tokens, size = logits.shape
    gaps = logits.new_empty(tokens)
    if tokens:
        block = min(BLOCK, triton.next_power_of_2(size))
        _others[(tokens,)](logits, targets, gaps, size, WIDE=wide(logits.dtype), BLOCK=block, num_warps=8)
    return gaps
