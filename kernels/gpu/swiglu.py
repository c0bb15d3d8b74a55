"""SwiGLU and GeGLU over rows, which need not be adjacent (for the halves of one fused projection)."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from .cast import nearest, wide

BLOCK = 1024


@triton.jit
def _sigmoid(gate, SILU: tl.constexpr):
    """Return the factor of the gate in its activation: ``sigmoid(gate)``, or of GELU's polynomial."""
    if not SILU:
        gate = 1.5957691216057308 * (gate + 0.044715 * gate * gate * gate)
    return 1.0 / (1.0 + tl.exp(-gate))


@triton.jit
def _forward(
    GATE, UP, OUT, gate_stride, up_stride, size, SILU: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr
):
    row, at = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    gate = tl.load(GATE + row * gate_stride + at, mask=inside, other=0.0).to(WIDE)
    up = tl.load(UP + row * up_stride + at, mask=inside, other=0.0).to(WIDE)
    out = gate * _sigmoid(gate, SILU) * up
    tl.store(OUT + row * size + at, nearest(out, OUT.dtype.element_ty), mask=inside)


@triton.jit
def _backward(
    UPSTREAM,
    GATE,
    UP,
    D_GATE,
    D_UP,
    stride,
    gate_stride,
    up_stride,
    size,
    SILU: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row, at = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    upstream = tl.load(UPSTREAM + row * stride + at, mask=inside, other=0.0).to(WIDE)
    gate = tl.load(GATE + row * gate_stride + at, mask=inside, other=0.0).to(WIDE)
    up = tl.load(UP + row * up_stride + at, mask=inside, other=0.0).to(WIDE)
    sigmoid = _sigmoid(gate, SILU)
    steep = gate * (1.0 - sigmoid)
    if not SILU:
        steep *= 1.5957691216057308 * (1.0 + 0.134145 * gate * gate)
    d_gate = upstream * up * (sigmoid * (1.0 + steep))
    kept: tl.constexpr = D_GATE.dtype.element_ty
    tl.store(D_GATE + row * size + at, nearest(d_gate, kept), mask=inside)
    tl.store(D_UP + row * size + at, nearest(upstream * gate * sigmoid, kept), mask=inside)


def forward(gate: Tensor, up: Tensor, silu: bool) -> Tensor:
    """Compute ``act(gate) * up`` for (rows, I) with contiguous rows: (rows, I), contiguous.

    ``silu``: the activation is SiLU, not GELU in its tanh form.
    """
    rows, size = gate.shape
    out = gate.new_empty(gate.shape)
    if out.numel():
        grid = (rows, triton.cdiv(size, BLOCK))
        _forward[grid](
            gate, up, out, gate.stride(0), up.stride(0), size, SILU=silu, WIDE=wide(gate.dtype), BLOCK=BLOCK
        )
    return out


def backward(
    upstream: Tensor, gate: Tensor, up: Tensor, silu: bool, d_gate: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the gradients of gate and up, contiguous; see :func:`forward`.

    ``d_gate``: memory for the first; may be ``upstream``.
    """
    rows, size = gate.shape
    d_gate, d_up = gate.new_empty(gate.shape) if d_gate is None else d_gate, up.new_empty(up.shape)
    if gate.numel():
        _backward[(rows, triton.cdiv(size, BLOCK))](
            upstream, gate, up, d_gate, d_up, upstream.stride(0), gate.stride(0), up.stride(0), size,
            SILU=silu, WIDE=wide(gate.dtype), BLOCK=BLOCK,
        )  # fmt: skip
    return d_gate, d_up
