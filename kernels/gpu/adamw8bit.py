"""8-bit AdamW step of many parameters in one launch: a program updates some blocks of one of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from .cast import NO_FUSION
from .rounding import rounded

#: Number of blocks per program: 16 values per thread, so that each reads 16 bytes of codes.
ROWS = 8
#: Addresses of a parameter, its gradient and its moments, and the number of its values.
FIELDS = tl.constexpr(7)
TYPES = {
    torch.float32: tl.float32,
    torch.bfloat16: tl.bfloat16,
    torch.float16: tl.float16,
    torch.float64: tl.float64,
}


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
def _pointer(TENSORS, field, dtype: tl.constexpr, ALIGNED: tl.constexpr):
    pointer = tl.load(TENSORS + field).to(tl.pointer_type(dtype))
    if ALIGNED:
        pointer = tl.multiple_of(pointer, 16)
    return pointer


@triton.jit
def _step(
    TENSORS, SEEDS, SIGNED, UNSIGNED, SIGNED_MIDDLES, UNSIGNED_MIDDLES,
    decay, beta1, rest1, beta2, rest2, eps, size, correction, smallest,
    PARAMETER: tl.constexpr, GRADIENT: tl.constexpr, ALIGNED: tl.constexpr, STOCHASTIC: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    number = tl.program_id(1)
    fields = TENSORS + number * FIELDS
    count = tl.load(fields + 6)
    if tl.program_id(0).to(tl.int64) * (ROWS * BLOCK) >= count:
        return
    if ALIGNED:
        count = tl.multiple_of(count, 16)
    P, G = _pointer(fields, 0, PARAMETER, ALIGNED), _pointer(fields, 1, GRADIENT, ALIGNED)
    FIRST, FIRST_ABSMAX = _pointer(fields, 2, tl.uint8, ALIGNED), _pointer(fields, 3, tl.float32, ALIGNED)
    SECOND, SECOND_ABSMAX = _pointer(fields, 4, tl.uint8, ALIGNED), _pointer(fields, 5, tl.float32, ALIGNED)
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
        tl.store(P + at, rounded(p, tl.randint(tl.load(SEEDS + number), at)), mask=inside)
    else:
        tl.store(P + at, p, mask=inside)
    _store_blocks(m, FIRST, FIRST_ABSMAX, SIGNED_MIDDLES, row, at, inside, present, smallest, False)
    _store_blocks(v, SECOND, SECOND_ABSMAX, UNSIGNED_MIDDLES, row, at, inside, present, smallest, True)


def step(
    parameters: Sequence[Tensor], gradients: Sequence[Tensor], moments: Sequence[Sequence[Tensor]],
    tables: Sequence[Tensor], seeds: Tensor | None, *, lr: float, betas: tuple[float, float], eps: float,
    weight_decay: float, number: int, block: int, smallest: float,
) -> None:  # fmt: skip
    """Update all parameters, each of one dtype and contiguous as its gradient is, in place.

    ``moments``: of each parameter, codes and scales of the first moment, then of the second. ``tables``: both
    maps, then both midpoints. ``seeds``: int64 (parameters,), for bfloat16 parameters.
    """
    counts = [parameter.numel() for parameter in parameters]
    largest = max(counts, default=0)
    if not largest:
        return
    each = [[p, g, *states] for p, g, states in zip(parameters, gradients, moments)]
    fields = [[tensor.data_ptr() for tensor in tensors] for tensors in each]
    aligned = not any(value % 16 for row in [*fields, counts] for value in row)
    rows = [[*addresses, count] for addresses, count in zip(fields, counts)]
    _step[(triton.cdiv(largest, ROWS * block), len(counts))](
        _on(parameters[0].device, rows), moments[0][0] if seeds is None else seeds, *tables,
        1 - lr * weight_decay, betas[0], 1 - betas[0], betas[1], 1 - betas[1], eps,
        lr / (1 - betas[0] ** number), math.sqrt(1 - betas[1] ** number), smallest,
        PARAMETER=TYPES[parameters[0].dtype], GRADIENT=TYPES[gradients[0].dtype], ALIGNED=aligned,
        STOCHASTIC=seeds is not None, ROWS=ROWS, BLOCK=block, **NO_FUSION,
    )  # fmt: skip


def _on(device: torch.device, rows: list[list[int]]) -> Tensor:
    """Return a table of numbers on the device, without waiting for it."""
    table = torch.tensor(rows, dtype=torch.int64)
    return table.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else table
