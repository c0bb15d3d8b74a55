"""Stochastic rounding to bfloat16, with random numbers drawn in the kernel (Philox, a counter per value)."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


@triton.jit
def rounded(x, noise):
    """Round ``x``, float32, to the bfloat16 neighbor selected by the low 16 bits of ``noise``."""
    bits = x.to(tl.uint32, bitcast=True)
    finite = (bits & 0x7F800000) != 0x7F800000
    carried = (bits + (noise.to(tl.uint32) & 0xFFFF)) >> 16
    # An infinity does not change. A NaN keeps a nonzero mantissa bit.
    kept = (bits >> 16) | ((bits & 0x7FFFFF) != 0).to(tl.uint32)
    return tl.where(finite, carried, kept).to(tl.uint16).to(tl.bfloat16, bitcast=True)


@triton.jit
def _round(X, OUT, SEED, count, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(X + at, mask=at < count, other=0.0)
    tl.store(OUT + at, rounded(x, tl.randint(tl.load(SEED), at)), mask=at < count)


def stochastic_round(values: Tensor, out: Tensor, seed: Tensor) -> None:
    """Round contiguous ``values`` to ``out``.

    ``seed``: int64 (1,), on their device, so that no synchronization is needed.
    """
    if values.numel():
        _round[(triton.cdiv(values.numel(), BLOCK),)](values, out, seed, values.numel(), BLOCK=BLOCK)
