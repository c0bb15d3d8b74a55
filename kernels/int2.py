"""INT2 weights in groups with one scale and zero point each, found without calibration data.

A weight is about (code - zero) * scale, with codes 0 to 3. Between the smallest and the largest weight of a
group, most weights are near two of the four levels; so ranges are tried that are narrower by the factors
``SHRINK``, and the one of the least squared error is taken. Codes are in row-major order, four per byte, the
first in the highest bits. Groups run along the rows, and continue in the next row if the row length is no
multiple of the group size.

Chai et al., "INT2.1: Towards Fine-Tunable Quantized Large Language Models with Error Correction through
Low-Rank Adaptation" (arXiv 2306.08162), train a low-rank correction over such a base.

Bytes: 0.25 per weight + 4/64 for scales (bfloat16) and zero points (float16) = 0.3125. There is no Triton
form: on a GPU, PyTorch's operations run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from .cost import KernelCost
from .grouped import GROUP, GroupedTensor

#: Bytes per weight, including its share of the group's scale and zero point.
BYTES_PER_WEIGHT = 0.25 + 4 / GROUP
LARGEST = 3
#: Tried ranges, relative to that of the group.
SHRINK = tuple(number / 20 for number in range(20, 6, -1))
#: Number of weights that are processed at once. This limits temporary float32 tensors.
PART = 1 << 22
#: Divisor of a group of zeros, instead of 0.
SMALLEST_SCALE = 1e-30
#: Places of the four codes of a byte.
SHIFTS = (6, 4, 2, 0)


@dataclass(frozen=True, slots=True)
class INT2Tensor(GroupedTensor):
    """A weight in INT2, four codes per byte."""

    largest: ClassVar[int] = LARGEST

    @staticmethod
    def pack(codes: Tensor) -> Tensor:
        fours = pad(codes, (0, -codes.numel() % 4)).view(-1, 4)
        return (fours[:, 0] << 6) | (fours[:, 1] << 4) | (fours[:, 2] << 2) | fours[:, 3]

    def codes(self) -> Tensor:
        parts = [(self.packed >> shift) & LARGEST for shift in SHIFTS]
        return torch.stack(parts, dim=1).view(-1)[: math.prod(self.shape)]


def quantize(weight: Tensor, *, group: int = GROUP) -> INT2Tensor:
    """Quantize ``weight`` (any shape, floating point) to INT2.

    Raises ValueError if the group is not a power of two of at least 4, or if values are not finite.
    """
    if group < 4 or group & (group - 1):
        raise ValueError(f"group = {group}: give a power of two of at least 4")
    flat = weight.detach().reshape(-1)
    if not torch.isfinite(flat).all():
        raise ValueError("cannot quantize a weight with NaN or infinite values to INT2")
    each = max(1, PART // group) * group
    found = [_quantize(part, group) for part in torch.split(flat, each)]
    codes, scales, zeros = (torch.cat(part) for part in zip(*found))
    return INT2Tensor(INT2Tensor.pack(codes), scales, zeros, tuple(weight.shape), group)


def _quantize(flat: Tensor, group: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return codes, scales and zero points of ``flat`` (n,)."""
    flat, count = flat.float(), flat.numel()
    # A short last group is padded with its last weight, which does not change its range.
    groups = torch.cat([flat, flat[-1:].expand(-count % group)]).view(-1, group)
    low, high = groups.amin(1, keepdim=True).clamp(max=0), groups.amax(1, keepdim=True).clamp(min=0)
    best = torch.zeros_like(groups)
    scales, zeros = torch.ones_like(low), torch.zeros_like(low)
    least = torch.full_like(low, float("inf"))
    for shrink in SHRINK:
        scale = ((high - low) * (shrink / LARGEST)).clamp(min=SMALLEST_SCALE).bfloat16().float()
        zero = (-low * shrink / scale).half().float()
        codes = (groups / scale).add_(zero).round_().clamp_(0, LARGEST)
        error = (groups - (codes - zero) * scale).square().mean(1, keepdim=True)
        better = error < least
        best = torch.where(better, codes, best)
        scales, zeros = torch.where(better, scale, scales), torch.where(better, zero, zeros)
        least = torch.minimum(error, least)
    return best.to(torch.uint8).view(-1)[:count], scales[:, 0].bfloat16(), zeros[:, 0].half()


def dequantize(weight: INT2Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the dequantized weight, of ``weight.shape``.

    Computes ``(code - zero) * scale`` in float32, rounded once to ``dtype``.
    """
    return weight.dequantized(dtype)


def cost(count: int, itemsize: int, group: int = GROUP) -> KernelCost:
    """Cost of decoding ``count`` weights to ``itemsize`` bytes each."""
    return KernelCost(-(-count // 4) + 4 * -(-count // group), count * itemsize, 2 * count)
