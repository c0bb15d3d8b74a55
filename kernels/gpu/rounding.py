"""Stochastic rounding to bfloat16, the noise drawn in the kernel (Philox, a counter a value)."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


@triton.jit
def rounded(x, noise):
    """``x`` float32 as the bfloat16 neighbour that the low 16 bits of ``noise`` decide on."""
    bits = x.to(tl.uint32, bitcast=True)
    finite = (bits & 0x7F800000) != 0x7F800000
    carried = (bits + (noise.to(tl.uint32) & 0xFFFF)) >> 16
    # Of an infinity nothing is lost; a NaN keeps a bit that makes it one.
    kept = (bits >> 16) | ((bits & 0x7FFFFF) != 0).to(tl.uint32)
    return tl.where(finite, carried, kept).to(tl.uint16).to(tl.bfloat16, bitcast=True)


@triton.jit
def _round(X, OUT, SEED, count, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(X + at, mask=at < count, other=0.0)
    tl.store(OUT + at, rounded(x, tl.randint(tl.load(SEED), at)), mask=at < count)


def stochastic_round(values: Tensor, out: Tensor, seed: Tensor) -> None:
    """Round contiguous ``values`` to ``out``. ``seed`` int64 (1,), on their device, so that nothing waits for it."""
    if values.numel():
        _round[(triton.cdiv(values.numel(), BLOCK),)](values, out, seed, values.numel(), BLOCK=BLOCK)
