"""Stochastic rounding of float32 to bfloat16, which is unbiased: its mean is the exact value.

Gupta et al., "Deep Learning with Limited Numerical Precision" (ICML 2015, arXiv 1502.02551). Weights that are
kept only in bfloat16 lose every update below half their spacing with rounding to nearest. With stochastic
rounding, such updates take effect on average.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import dispatch
from .cost import KernelCost


def stochastic_round(values: Tensor, generator: torch.Generator) -> Tensor:
    """Round ``values``, float32, any shape, to one of the two neighbors in bfloat16.

    The nearer neighbor is more likely, so that the mean over ``generator`` is the value. ``generator``: on
    the values' device, or on the CPU. Values that bfloat16 can represent, infinities and NaN do not change.
    Raises ValueError for another dtype.
    """
    if values.dtype != torch.float32:
        raise ValueError(f"stochastic rounding needs float32 values, not {values.dtype}")
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
    """Draw a seed for a kernel's random numbers, int64 (1,), on the generator's device."""
    return torch.randint(0, 1 << 31, (1,), generator=generator, device=generator.device)


def round_by(values: Tensor, noise: Tensor) -> Tensor:
    """Round to the neighbor selected by ``noise``, int32 in [0, 2**16), of values' shape.

    A float32 is a bfloat16 and 16 more bits. Adding noise to these bits carries over with the required
    probability.
    """
    bits = values.view(torch.int32).add(noise).bitwise_and_(-65536)
    return torch.where(torch.isfinite(values), bits.view(torch.float32), values).to(torch.bfloat16)


def cost(count: int) -> KernelCost:
    """Cost of rounding ``count`` values, with the random numbers drawn in the kernel."""
    return KernelCost(4 * count, 2 * count, count)
