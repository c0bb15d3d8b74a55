"""Encoding and decoding of INT8 (one scale per row) and INT4 (one scale and zero point per group)."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .cast import NO_FUSION, nearest

#: Number of weights that a program encodes or decodes; of INT4, it decodes twice as many, in as many bytes.
BLOCK = 2048


@triton.jit
def _int8(CODES, SCALES, OUT, size, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    codes = tl.load(CODES + row * size + at, mask=at < size, other=0).to(tl.float32)
    values = nearest(codes * tl.load(SCALES + row), OUT.dtype.element_ty)
    tl.store(OUT + row * size + at, values, mask=at < size)


@triton.jit
def _int4(PACKED, SCALES, ZEROS, OUT, count, half, ROWS: tl.constexpr, HALF: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    present = row * (2 * HALF) < count
    scale = tl.load(SCALES + row, mask=present, other=0.0).to(tl.float32)[:, None]
    zero = tl.load(ZEROS + row, mask=present, other=0.0).to(tl.float32)[:, None]
    byte = row[:, None] * HALF + tl.arange(0, HALF)[None, :]
    packed = tl.load(PACKED + byte, mask=byte < half, other=0)
    codes = tl.interleave((packed >> 4).to(tl.float32), (packed & 15).to(tl.float32))
    at = row[:, None] * (2 * HALF) + tl.arange(0, 2 * HALF)[None, :]
    tl.store(OUT + at, nearest((codes - zero) * scale, OUT.dtype.element_ty), mask=at < count)


@triton.jit
def _round(x):
    """Round ``x``, float32 below 2**22, to the nearest integer, ties to even, by adding 1.5 * 2**23."""
    return (x + 12582912.0) - 12582912.0


@triton.jit
def _quantize_int8(W, CODES, SCALES, size, largest, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    absmax = tl.full((), 0.0, dtype=tl.float32)
    for start in range(0, size, BLOCK):
        at = start + tl.arange(0, BLOCK)
        w = tl.load(W + row * size + at, mask=at < size, other=0.0).to(tl.float32)
        absmax = tl.maximum(absmax, tl.max(tl.abs(w), axis=0))
    tl.store(SCALES + row, tl.div_rn(absmax, largest))
    whole = tl.broadcast_to(tl.where(absmax > 0, absmax, 1.0), (BLOCK,))
    for start in range(0, size, BLOCK):
        at = start + tl.arange(0, BLOCK)
        w = tl.load(W + row * size + at, mask=at < size, other=0.0).to(tl.float32)
        codes = _round(tl.div_rn(w, whole) * largest)
        tl.store(CODES + row * size + at, codes.to(tl.int8), mask=at < size)


@triton.jit
def _int4_codes(w, scale, zero, largest):
    return tl.minimum(tl.maximum(_round(tl.div_rn(w, scale) + zero), 0.0), largest)


@triton.jit
def _quantize_int4(
    W, PACKED, SCALES, ZEROS, count, half, largest, smallest, norm, beta, growth, rounds, ROWS: tl.constexpr,
    HALF: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    present = row * (2 * HALF) < count
    at = row[:, None] * (2 * HALF) + tl.arange(0, 2 * HALF)[None, :]
    # A short last group is padded with its last weight, which does not change its range.
    w = tl.load(W + at, mask=at < count, other=0.0).to(tl.float32)
    w = tl.where(at < count, w, tl.load(W + count - 1).to(tl.float32))
    low, high = tl.minimum(tl.min(w, axis=1), 0.0), tl.maximum(tl.max(w, axis=1), 0.0)
    kept = nearest(tl.maximum(tl.div_rn(high - low, largest), smallest), tl.bfloat16)
    scale = kept.to(tl.float32)
    # Broadcast the scales explicitly, so that every lane divides by its own element of a full tile.
    scales = tl.broadcast_to(scale[:, None], (ROWS, 2 * HALF))
    zero = tl.div_rn(-low, scale)
    best, least = zero, tl.full((ROWS,), float("inf"), dtype=tl.float32)
    for _number in range(rounds + 1):
        codes = _int4_codes(w, scales, zero[:, None], largest)
        error = w - (codes - zero[:, None]) * scales
        magnitude = tl.abs(error)
        logarithm = tl.log2(magnitude)
        size = tl.sum(tl.exp2(norm * logarithm), axis=1)
        best, least = tl.where(size < least, zero, best), tl.minimum(size, least)
        # Shrinkage operator of the p-norm. An error of 0 stays 0.
        left = tl.maximum(magnitude - tl.exp2((norm - 1.0) * logarithm) / beta, 0.0)
        sparse = tl.where(error < 0, -left, left)
        zero = tl.sum(codes - tl.div_rn(w - sparse, scales), axis=1) / (2 * HALF)
        beta *= growth
    zeros = best.to(tl.float16)
    codes = _int4_codes(w, scales, zeros.to(tl.float32)[:, None], largest).to(tl.int32)
    first, second = tl.split(tl.reshape(tl.where(at < count, codes, 0), (ROWS, HALF, 2)))
    byte = row[:, None] * HALF + tl.arange(0, HALF)[None, :]
    tl.store(PACKED + byte, ((first << 4) | second).to(tl.uint8), mask=byte < half)
    tl.store(SCALES + row, kept, mask=present)
    tl.store(ZEROS + row, zeros, mask=present)


def quantize_int8(weight: Tensor, largest: int) -> tuple[Tensor, Tensor]:
    """Return codes int8 (N, K) and scales float32 (N,) of a contiguous ``weight`` (N, K)."""
    rows, size = weight.shape
    codes, scales = torch.empty_like(weight, dtype=torch.int8), weight.new_zeros(rows, dtype=torch.float32)
    if weight.numel():
        block = min(BLOCK, triton.next_power_of_2(size))
        _quantize_int8[(rows,)](weight, codes, scales, size, float(largest), BLOCK=block, **NO_FUSION)
    return codes, scales


def quantize_int4(
    flat: Tensor, group: int, *, largest: int, smallest: float, norm: float, beta: float, growth: float,
    rounds: int
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return packed codes uint8, scales bfloat16 and zero points float16 of a contiguous ``flat`` (n,)."""
    count = flat.numel()
    packed = flat.new_empty(-(-count // 2), dtype=torch.uint8)
    scales = flat.new_empty(-(-count // group), dtype=torch.bfloat16)
    zeros = flat.new_empty(-(-count // group), dtype=torch.float16)
    rows = max(1, BLOCK // group)
    if count:
        _quantize_int4[(triton.cdiv(count, rows * group),)](
            flat, packed, scales, zeros, count, packed.numel(), float(largest), smallest, norm, beta, growth,
            rounds, ROWS=rows, HALF=group // 2, **NO_FUSION,
        )  # fmt: skip
    return packed, scales, zeros


def dequantize_int8(codes: Tensor, scales: Tensor, out: Tensor) -> None:
    """Decode (N, K) codes to ``out``; all tensors are contiguous."""
    rows, size = codes.shape
    if out.numel():
        _int8[(rows, triton.cdiv(size, BLOCK))](codes, scales, out, size, BLOCK=BLOCK)


def dequantize_int4(packed: Tensor, scales: Tensor, zeros: Tensor, out: Tensor, group: int) -> None:
    """Decode flat codes to ``out``, contiguous."""
    rows = max(1, 2 * BLOCK // group)
    if out.numel():
        _int4[(triton.cdiv(out.numel(), rows * group),)](
            packed, scales, zeros, out, out.numel(), packed.numel(), ROWS=rows, HALF=group // 2, **NO_FUSION
        )
