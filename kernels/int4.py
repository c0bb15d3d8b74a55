"""INT4 weights in groups with one scale and zero point each, found without calibration data.

Badri & Shaji, "Half-Quadratic Quantization of Large Machine Learning Models" (Mobius Labs, 2023): with w ~
(code - zero) * scale, the zero point minimizes the p-norm of the error (p < 1, so that outliers count
little). The search alternates between two closed forms: shrink the error to its sparse part, then compute the
zero point as a mean. Codes are packed as in :mod:`.nf4`: row-major, two per byte, the first in the high
nibble. Groups run along the rows, and continue in the next row if the row length is no multiple of the group
size.

Bytes: 0.5 per weight + 4/64 for scales (bfloat16) and zero points (float16) = 0.5625.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from . import dispatch
from .cost import KernelCost
from .grouped import GROUP, GroupedTensor

#: Bytes per weight, including its share of the group's scale and zero point.
BYTES_PER_WEIGHT = 0.5 + 4 / GROUP
LARGEST = 15
#: p of the p-norm, penalty weight and its growth factor, and largest number of rounds: the authors' values.
NORM, BETA, GROWTH, ROUNDS = 0.7, 10.0, 1.01, 20
#: Number of weights that the plain form processes at once. This limits its temporary float32 tensors.
PART = 1 << 22
#: Divisor of a group of zeros, instead of 0.
SMALLEST_SCALE = 1e-30


@dataclass(frozen=True, slots=True)
class INT4Tensor(GroupedTensor):
    """A weight in INT4, two codes per byte."""

    largest: ClassVar[int] = LARGEST

    @staticmethod
    def pack(codes: Tensor) -> Tensor:
        pairs = pad(codes, (0, codes.numel() % 2)).view(-1, 2)
        return (pairs[:, 0] << 4) | pairs[:, 1]

    def codes(self) -> Tensor:
        return torch.stack([self.packed >> 4, self.packed & 15], dim=1).view(-1)[: math.prod(self.shape)]


def quantize(weight: Tensor, *, group: int = GROUP, rounds: int = ROUNDS) -> INT4Tensor:
    """Quantize ``weight`` (any shape, floating point) to INT4.

    ``rounds``: rounds of the search for zero points. With 0, they follow from the smallest and the largest
    weight. Raises ValueError if the group is not a power of two of at least 2, or if values are not finite.
    """
    if group < 2 or group & (group - 1):
        raise ValueError(f"group = {group}: give a power of two of at least 2")
    flat = weight.detach().reshape(-1)
    if not torch.isfinite(flat).all():
        raise ValueError("cannot quantize a weight with NaN or infinite values to INT4")
    if dispatch.on_triton(flat):
        from .gpu import integers as gpu

        packed, scales, zeros = gpu.quantize_int4(
            flat.contiguous(), group, largest=LARGEST, smallest=SMALLEST_SCALE, norm=NORM, beta=BETA,
            growth=GROWTH, rounds=rounds
        )  # fmt: skip
    else:
        each = max(1, PART // group) * group
        found = [_plain_quantize(part, group, rounds) for part in torch.split(flat, each)]
        packed, scales, zeros = (torch.cat(part) for part in zip(*found))
    return INT4Tensor(packed, scales, zeros, tuple(weight.shape), group)


def _plain_quantize(flat: Tensor, group: int, rounds: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return packed codes, scales and zero points of ``flat`` (n,)."""
    flat, count = flat.float(), flat.numel()
    # A short last group is padded with its last weight, which does not change its range.
    fill = flat[-1:].expand(-count % group)
    groups = torch.cat([flat, fill]).view(-1, group)
    # The range always includes zero, so that the zero point is a code and fits a float16.
    low, high = groups.amin(1, keepdim=True).clamp(max=0), groups.amax(1, keepdim=True).clamp(min=0)
    scales = ((high - low) / LARGEST).clamp(min=SMALLEST_SCALE).bfloat16()
    zeros = _zero_points(groups, scales.float(), -low / scales.float(), rounds).half()
    codes = _codes(groups, scales.float(), zeros.float()).to(torch.uint8).view(-1)[:count]
    return INT4Tensor.pack(codes), scales[:, 0], zeros[:, 0]


def _codes(groups: Tensor, scales: Tensor, zeros: Tensor) -> Tensor:
    return (groups / scales).add_(zeros).round_().clamp_(0, LARGEST)


def _zero_points(groups: Tensor, scales: Tensor, zeros: Tensor, rounds: int) -> Tensor:
    """Return the zero points with the smallest error found for each group.

    The alternation does not always reduce the error.
    """
    best, least = zeros, torch.full_like(zeros, float("inf"))
    beta = BETA
    for number in range(rounds + 1):
        codes = _codes(groups, scales, zeros)
        error = groups - (codes - zeros).mul_(scales)
        size = error.abs().pow_(NORM).mean(1, keepdim=True)
        best, least = torch.where(size < least, zeros, best), torch.minimum(size, least)
        if number == rounds:
            break
        magnitude = error.abs()
        # Shrinkage operator of the p-norm. An error of 0 stays 0.
        sparse = error.sign() * (magnitude - magnitude.pow(NORM - 1) / beta).clamp_(min=0)
        zeros = (codes - (groups - sparse) / scales).mean(1, keepdim=True)
        beta *= GROWTH
    return best


def dequantize(weight: INT4Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the dequantized weight, of ``weight.shape``.

    Computes ``(code - zero) * scale`` in float32, rounded once to ``dtype``.
    """
    if dispatch.on_triton(weight.packed):
        from .gpu import integers as gpu

        out = torch.empty(weight.shape, dtype=dtype, device=weight.packed.device)
        gpu.dequantize_int4(weight.packed, weight.scales, weight.zeros, out, weight.group)
        return out
    return weight.dequantized(dtype)


def quantize_cost(count: int, itemsize: int, group: int = GROUP, rounds: int = ROUNDS) -> KernelCost:
    """Cost of quantizing ``count`` weights of ``itemsize`` bytes each. The search runs in registers."""
    return KernelCost(count * itemsize, -(-count // 2) + 4 * -(-count // group), 20 * count * (rounds + 1))


def cost(count: int, itemsize: int, group: int = GROUP) -> KernelCost:
    """Cost of decoding ``count`` weights to ``itemsize`` bytes each."""
    return KernelCost(-(-count // 2) + 4 * -(-count // group), count * itemsize, 2 * count)
