"""NF4: a program processes some blocks of weights; nested scales are decoded in the same launch."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .cast import NO_FUSION, nearest

#: Bytes of codes that a program decodes or encodes.
BYTES = 1024


@triton.jit
def _dequantize(
    PACKED, SCALES, MAP, ABSMAX, OFFSET, CODEBOOK, OUT, count,
    NESTED: tl.constexpr, SCALE_BLOCK: tl.constexpr, ROWS: tl.constexpr, HALF: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    present = row * (2 * HALF) < count
    if NESTED:
        code = tl.load(SCALES + row, mask=present, other=0).to(tl.int32)
        # Product and sum are rounded separately: the launch options disable their fusion.
        scale = tl.load(MAP + code) * tl.load(ABSMAX + row // SCALE_BLOCK, mask=present, other=0.0) + tl.load(
            OFFSET
        )
    else:
        scale = tl.load(SCALES + row, mask=present, other=0.0)
    byte = row[:, None] * HALF + tl.arange(0, HALF)[None, :]
    packed = tl.load(PACKED + byte, mask=2 * byte < count, other=0).to(tl.int32)
    high, low = tl.load(CODEBOOK + (packed >> 4)), tl.load(CODEBOOK + (packed & 15))
    values = tl.interleave(high, low) * scale[:, None]
    at = row[:, None] * (2 * HALF) + tl.arange(0, 2 * HALF)[None, :]
    tl.store(OUT + at, nearest(values, OUT.dtype.element_ty), mask=at < count)


@triton.jit
def _quantize(W, MIDPOINTS, PACKED, ABSMAX, count, smallest, ROWS: tl.constexpr, HALF: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    byte = row[:, None] * HALF + tl.arange(0, HALF)[None, :]
    even = tl.load(W + 2 * byte, mask=2 * byte < count, other=0.0).to(tl.float32)
    odd = tl.load(W + 2 * byte + 1, mask=2 * byte + 1 < count, other=0.0).to(tl.float32)
    absmax = tl.max(tl.maximum(tl.abs(even), tl.abs(odd)), axis=1)
    inverse = tl.div_rn(1.0, tl.maximum(absmax, smallest).to(tl.float32))[:, None]
    even, odd = even * inverse, odd * inverse
    high, low = tl.zeros((ROWS, HALF), dtype=tl.int32), tl.zeros((ROWS, HALF), dtype=tl.int32)
    for place in range(15):
        middle = tl.load(MIDPOINTS + place)
        high += (even > middle).to(tl.int32)
        low += (odd > middle).to(tl.int32)
    # Past the end, a low nibble has the code of weight 0, as in the plain form.
    low = tl.where(2 * byte + 1 < count, low, 0)
    tl.store(PACKED + byte, ((high << 4) | low).to(tl.uint8), mask=2 * byte < count)
    tl.store(ABSMAX + row, absmax, mask=row * (2 * HALF) < count)


def dequantize(
    packed: Tensor,
    scales: Tensor | tuple[Tensor, Tensor, Tensor, Tensor],
    codebook: Tensor,
    out: Tensor,
    block: int,
    scale_block: int,
) -> None:
    """Decode to ``out``, flat.

    ``scales``: float32, one per block, or (codes, map, absmax, offset).
    """
    codes, table, absmax, offset = (scales,) * 4 if isinstance(scales, Tensor) else scales
    rows = max(1, BYTES * 2 // block)
    if out.numel():
        _dequantize[(triton.cdiv(out.numel(), rows * block),)](
            packed, codes, table, absmax, offset, codebook, out, out.numel(),
            NESTED=not isinstance(scales, Tensor), SCALE_BLOCK=scale_block, ROWS=rows, HALF=block // 2,
            **NO_FUSION,
        )  # fmt: skip


def quantize(flat: Tensor, midpoints: Tensor, block: int, smallest: float) -> tuple[Tensor, Tensor]:
    """Return packed codes and scales of a contiguous ``flat`` (n,).

    The codes are uint8 (ceil(n/2),), the scales float32 (ceil(n/block),).
    """
    count = flat.numel()
    packed = flat.new_empty(-(-count // 2), dtype=torch.uint8)
    absmax = flat.new_empty(-(-count // block), dtype=torch.float32)
    rows = max(1, BYTES * 2 // block)
    if count:
        _quantize[(triton.cdiv(count, rows * block),)](
            flat, midpoints, packed, absmax, count, smallest, ROWS=rows, HALF=block // 2, **NO_FUSION
        )
    return packed, absmax
