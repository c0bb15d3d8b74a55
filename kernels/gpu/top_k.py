"""Histogram of some bits of magnitudes: a program counts its share, then adds it to the total."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Number of values that a program processes at once, and number of repetitions.
BLOCK, TURNS = 4096, 8


@triton.jit
def _histogram(
    X,
    COUNTS,
    count,
    prefix,
    SHIFT: tl.constexpr,
    DIGIT: tl.constexpr,
    BLOCK: tl.constexpr,
    TURNS: tl.constexpr,
):
    start = tl.program_id(0).to(tl.int64) * (BLOCK * TURNS)
    bins: tl.constexpr = 1 << DIGIT
    total = tl.zeros((bins,), dtype=tl.int32)
    for turn in range(TURNS):
        at = start + turn * BLOCK + tl.arange(0, BLOCK)
        bits = (tl.load(X + at, mask=at < count, other=0.0).to(tl.int32, bitcast=True) & 0x7FFFFFFF) >> SHIFT
        counted = (at < count) & ((bits >> DIGIT) == prefix)
        total += tl.histogram(bits & (bins - 1), bins, mask=counted)
    tl.atomic_add(COUNTS + tl.arange(0, bins), total.to(tl.int64), mask=total > 0)


def histogram(flat: Tensor, prefix: int, shift: int, digit: int) -> Tensor:
    """Compute the histogram of contiguous ``flat``; see :func:`gristmill.kernels.top_k.histogram`."""
    counts = torch.zeros(1 << digit, dtype=torch.int64, device=flat.device)
    if flat.numel():
        _histogram[(triton.cdiv(flat.numel(), BLOCK * TURNS),)](
            flat, counts, flat.numel(), prefix, SHIFT=shift, DIGIT=digit, BLOCK=BLOCK, TURNS=TURNS
        )
    return counts
