"""Stochastic rounding of float32 to bfloat16: up or down with the odds that make it right on average.

Gupta et al., "Deep Learning with Limited Numerical Precision" (ICML 2015, arXiv 1502.02551). Weights kept in bfloat16 alone lose every
update below half their spacing when rounded to the nearest; rounded this way they keep it on average.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import dispatch
from .cost import Cost


def stochastic_round(values: Tensor, generator: torch.Generator) -> Tensor:
    """``values`` float32, any shape, as bfloat16: one of the two neighbours, the nearer the likelier, so that the
    mean over ``generator`` (of the values' device; for CUDA values also of the CPU) is the value. What bfloat16 holds stays as it is, and so do infinities and NaN.
    Raises ValueError for another dtype."""
    if values.dtype != torch.float32:
        raise ValueError(f"stochastic rounding is from float32, not {values.dtype}")
    if dispatch.on_triton(values):
        from .gpu import rounding as gpu

        out = torch.empty(values.shape, dtype=torch.bfloat16, device=values.device)
        gpu.stochastic_round(values.contiguous(), out, draw_seed(generator).to(values.device))
        return out
    noise = torch.randint(
        0, 1 << 16, values.shape, dtype=torch.int32, generator=generator, device=values.device
    )
    return round_by(values, noise)


def draw_seed(generator: torch.Generator) -> Tensor:
    """A seed for a kernel's own noise, int64 (1,), on the generator's device."""
    return torch.randint(0, 1 << 31, (1,), generator=generator, device=generator.device)


def round_by(values: Tensor, noise: Tensor) -> Tensor:
    """The neighbour that ``noise`` int32 in [0, 2**16), of values' shape, decides on. A float32 is a bfloat16 and 16
    bits more: adding noise to them carries over with the odds wanted."""
    bits = values.view(torch.int32).add(noise).bitwise_and_(-65536)
    return torch.where(torch.isfinite(values), bits.view(torch.float32), values).to(torch.bfloat16)


def cost(count: int) -> Cost:
    """Rounding ``count`` values, the noise made on the way."""
    return Cost(4 * count, 2 * count, count)
