"""Decoding INT8 (a scale a row) and INT4 (a scale and a zero point a group)."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from .cast import NO_FUSION, nearest

#: Weights a program decodes.
BLOCK = 2048


@triton.jit
def _int8(CODES, SCALES, OUT, size, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    codes = tl.load(CODES + row * size + at, mask=at < size, other=0).to(tl.float32)
    values = nearest(codes * tl.load(SCALES + row), OUT.dtype.element_ty)
    tl.store(OUT + row * size + at, values, mask=at < size)


@triton.jit
def _int4(PACKED, SCALES, ZEROS, OUT, count, ROWS: tl.constexpr, HALF: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    present = row * (2 * HALF) < count
    scale = tl.load(SCALES + row, mask=present, other=0.0).to(tl.float32)[:, None]
    zero = tl.load(ZEROS + row, mask=present, other=0.0).to(tl.float32)[:, None]
    byte = row[:, None] * HALF + tl.arange(0, HALF)[None, :]
    packed = tl.load(PACKED + byte, mask=2 * byte < count, other=0)
    codes = tl.interleave((packed >> 4).to(tl.float32), (packed & 15).to(tl.float32))
    at = row[:, None] * (2 * HALF) + tl.arange(0, 2 * HALF)[None, :]
    tl.store(OUT + at, nearest((codes - zero) * scale, OUT.dtype.element_ty), mask=at < count)


def dequantize_int8(codes: Tensor, scales: Tensor, out: Tensor) -> None:
    """Decode (N, K) codes to ``out``, all contiguous."""
    rows, size = codes.shape
    if out.numel():
        _int8[(rows, triton.cdiv(size, BLOCK))](codes, scales, out, size, BLOCK=BLOCK)


def dequantize_int4(packed: Tensor, scales: Tensor, zeros: Tensor, out: Tensor, group: int) -> None:
    """Decode flat codes to ``out``, contiguous."""
    rows = max(1, BLOCK // group)
    if out.numel():
        _int4[(triton.cdiv(out.numel(), rows * group),)](
            packed, scales, zeros, out, out.numel(), ROWS=rows, HALF=group // 2, **NO_FUSION
        )
