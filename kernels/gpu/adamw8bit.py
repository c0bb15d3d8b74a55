"""8-bit AdamW step: a program reads and writes some blocks of all tensors once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor

from .cast import NO_FUSION
from .rounding import rounded

#: Number of blocks per program.
ROWS = 4


@triton.jit
def _nearest_code(x, MIDPOINTS):
    """Count the midpoints (of 255) that each of ``x`` exceeds, by bisection."""
    code = tl.zeros(x.shape, dtype=tl.int32)
    for place in tl.static_range(8):
        code = tl.where(x > tl.load(MIDPOINTS + code + ((128 >> place) - 1)), code + (128 >> place), code)
    return code


@triton.jit
def _store_blocks(x, CODES, ABSMAX, MIDPOINTS, row, at, inside, present, smallest, SQUARES: tl.constexpr):
    absmax = tl.max(tl.abs(x), axis=1)
    normed = x * tl.div_rn(1.0, tl.maximum(absmax, smallest).to(tl.float32))[:, None]
    code = _nearest_code(normed, MIDPOINTS)
    if SQUARES:
        code = tl.where((x > 0) & (code == 0), 1, code)
    tl.store(CODES + at, code.to(tl.uint8), mask=inside)
    tl.store(ABSMAX + row, absmax, mask=present)


@triton.jit
def _step(
    P, G, FIRST, FIRST_ABSMAX, SECOND, SECOND_ABSMAX, SIGNED, UNSIGNED, SIGNED_MIDDLES, UNSIGNED_MIDDLES,
    SEED, count, decay, beta1, rest1, beta2, rest2, eps, size, correction, smallest,
    STOCHASTIC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    at = row[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    inside, present = at < count, row * BLOCK < count
    g = tl.load(G + at, mask=inside, other=0.0).to(tl.float32)
    p = tl.load(P + at, mask=inside, other=0.0).to(tl.float32)
    m = tl.load(SIGNED + tl.load(FIRST + at, mask=inside, other=0).to(tl.int32))
    v = tl.load(UNSIGNED + tl.load(SECOND + at, mask=inside, other=0).to(tl.int32))
    m = m * tl.load(FIRST_ABSMAX + row, mask=present, other=0.0)[:, None] * beta1 + g * rest1
    v = v * tl.load(SECOND_ABSMAX + row, mask=present, other=0.0)[:, None] * beta2 + g * g * rest2
    m, v = tl.where(inside, m, 0.0), tl.where(inside, v, 0.0)
    p = p * decay - size * (m / (tl.sqrt(v) / correction + eps))
    if STOCHASTIC:
        tl.store(P + at, rounded(p, tl.randint(tl.load(SEED), at)), mask=inside)
    else:
        tl.store(P + at, p, mask=inside)
    _store_blocks(m, FIRST, FIRST_ABSMAX, SIGNED_MIDDLES, row, at, inside, present, smallest, False)
    _store_blocks(v, SECOND, SECOND_ABSMAX, UNSIGNED_MIDDLES, row, at, inside, present, smallest, True)


def step(
    parameter: Tensor, gradient: Tensor, moments: Sequence[Tensor], tables: Sequence[Tensor],
    seed: Tensor | None, *, lr: float, betas: tuple[float, float], eps: float, weight_decay: float,
    number: int, block: int, smallest: float,
) -> None:  # fmt: skip
    """Update all tensors, which are contiguous, in place.

    ``moments``: codes and scales of the first moment, then of the second. ``tables``: both maps, then both
    midpoints. ``seed``: int64 (1,), for bfloat16 parameters.
    """
    count = parameter.numel()
    if count:
        _step[(triton.cdiv(count, ROWS * block),)](
            parameter, gradient, *moments, *tables, moments[0] if seed is None else seed, count,
            1 - lr * weight_decay, betas[0], 1 - betas[0], betas[1], 1 - betas[1], eps,
            lr / (1 - betas[0] ** number), math.sqrt(1 - betas[1] ** number), smallest,
            STOCHASTIC=seed is not None, ROWS=ROWS, BLOCK=block, **NO_FUSION,
        )  # fmt: skip
