"""NF4: a program processes some blocks of weights; nested scales are decoded in the same launch."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .cast import NO_FUSION, nearest

#: Bytes of codes that a program encodes or decodes. A warp has the table of codes in its registers.
BYTES = 1024


@triton.jit
def _dequantize(
    PACKED, SCALES, MAP, ABSMAX, OFFSET, CODEBOOK, OUT, count, half,
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
    # Masks compare offsets with counts only: Triton then knows that 16 neighbors share one value.
    packed = tl.load(PACKED + byte, mask=byte < half, other=0).to(tl.int32)
    # One warp holds the 16 values, so a look-up is a shuffle between its registers.
    table, flat = tl.load(CODEBOOK + tl.arange(0, 16)), tl.reshape(packed, (ROWS * HALF,))
    high, low = tl.gather(table, flat >> 4, 0), tl.gather(table, flat & 15, 0)
    values = tl.reshape(tl.interleave(high, low), (ROWS, 2 * HALF)) * scale[:, None]
    at = row[:, None] * (2 * HALF) + tl.arange(0, 2 * HALF)[None, :]
    tl.store(OUT + at, nearest(values, OUT.dtype.element_ty), mask=at < count)


@triton.jit
def _quantize(W, MIDPOINTS, PACKED, ABSMAX, count, half, smallest, ROWS: tl.constexpr, HALF: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    at = row[:, None] * (2 * HALF) + tl.arange(0, 2 * HALF)[None, :]
    w = tl.load(W + at, mask=at < count, other=0.0).to(tl.float32)
    absmax = tl.max(tl.abs(w), axis=1)
    normed = w * tl.div_rn(1.0, tl.maximum(absmax, smallest).to(tl.float32))[:, None]
    codes = tl.zeros((ROWS, 2 * HALF), dtype=tl.int32)
    for place in range(15):
        codes += (normed > tl.load(MIDPOINTS + place)).to(tl.int32)
    # Past the end, a low nibble has the code of weight 0, as in the plain form.
    high, low = tl.split(tl.reshape(tl.where(at < count, codes, 0), (ROWS, HALF, 2)))
    byte = row[:, None] * HALF + tl.arange(0, HALF)[None, :]
    tl.store(PACKED + byte, ((high << 4) | low).to(tl.uint8), mask=byte < half)
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
            packed, codes, table, absmax, offset, codebook, out, out.numel(), packed.numel(),
            NESTED=not isinstance(scales, Tensor), SCALE_BLOCK=scale_block, ROWS=rows, HALF=block // 2,
            num_warps=1, **NO_FUSION,
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
            flat, midpoints, packed, absmax, count, packed.numel(), smallest, ROWS=rows, HALF=block // 2,
            **NO_FUSION,
        )  # fmt: skip
    return packed, absmax
