"""Rotary embedding of Q and K in one launch: a program rotates all heads of a token."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from .cast import nearest, wide


@triton.jit
def _turn(
    X,
    OUT,
    row,
    stride,
    heads,
    half,
    cosines,
    sines,
    WIDE: tl.constexpr,
    HEADS: tl.constexpr,
    HALF: tl.constexpr,
):
    head, at = tl.arange(0, HEADS)[:, None], tl.arange(0, HALF)[None, :]
    inside = (head < heads) & (at < half)
    source, target = row * stride + head * (2 * half) + at, row * heads * (2 * half) + head * (2 * half) + at
    first = tl.load(X + source, mask=inside, other=0.0).to(WIDE)
    second = tl.load(X + source + half, mask=inside, other=0.0).to(WIDE)
    kept: tl.constexpr = OUT.dtype.element_ty
    tl.store(OUT + target, nearest(first * cosines - second * sines, kept), mask=inside)
    tl.store(OUT + target + half, nearest(second * cosines + first * sines, kept), mask=inside)


@triton.jit
def _pair(
    Q, K, Q_OUT, K_OUT, COSINES, SINES, q_stride, k_stride, q_heads, k_heads, half, sign,
    WIDE: tl.constexpr, Q_HEADS: tl.constexpr, K_HEADS: tl.constexpr, HALF: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, HALF)[None, :]
    cosines = tl.load(COSINES + row * half + at, mask=at < half, other=0.0).to(WIDE)
    sines = tl.load(SINES + row * half + at, mask=at < half, other=0.0).to(WIDE) * sign
    _turn(Q, Q_OUT, row, q_stride, q_heads, half, cosines, sines, WIDE, Q_HEADS, HALF)
    _turn(K, K_OUT, row, k_stride, k_heads, half, cosines, sines, WIDE, K_HEADS, HALF)


def pair(
    q: Tensor, k: Tensor, outs: tuple[Tensor, Tensor], cosines: Tensor, sines: Tensor, sign: int
) -> None:
    """Write to ``outs`` q and k, rotated by ``sign`` times their angles.

    q and k are (tokens, heads, D), with each token's heads contiguous. ``outs`` are contiguous, and may be q
    and k themselves.
    """
    if q.shape[0] == 0:
        return
    half, k_heads = q.shape[2] // 2, triton.next_power_of_2(k.shape[1])
    # Few enough threads that each has 16 bytes of K.
    warps = min(4, max(1, k_heads * triton.next_power_of_2(half) // 256))
    _pair[(q.shape[0],)](
        q, k, *outs, cosines, sines, q.stride(0), k.stride(0), q.shape[1], k.shape[1], half, sign,
        WIDE=wide(q.dtype), Q_HEADS=triton.next_power_of_2(q.shape[1]),
        K_HEADS=k_heads, HALF=triton.next_power_of_2(half), num_warps=warps,
    )  # fmt: skip
