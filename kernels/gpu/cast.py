"""Conversions that are bitwise equal when compiled and when interpreted."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

#: Triton's interpreter rounds ties away from zero when converting to bfloat16, unlike the hardware.
INTERPRETED = tl.constexpr(bool(triton.knobs.runtime.interpret))
#: Launch options: product and sum are rounded separately, as in the plain form.
NO_FUSION: dict[str, Any] = {"enable_fp_fusion": False}


def wide(dtype: torch.dtype) -> Any:
    """Return Triton's dtype for sums of values of ``dtype``: float32, or float64 for float64."""
    return tl.float64 if dtype == torch.float64 else tl.float32


@triton.jit
def nearest(x, dtype: tl.constexpr):
    """Convert ``x``, float32 (or of ``dtype``), to ``dtype``, to nearest with ties to even."""
    if INTERPRETED and dtype == tl.bfloat16 and x.dtype == tl.float32:
        bits = x.to(tl.uint32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        return bits.to(tl.uint16).to(tl.bfloat16, bitcast=True)
    return x.to(dtype)
