"""8-bit values in blocks: each code is a point of the dynamic map, times the block's largest magnitude.

The map is from Dettmers, "8-Bit Approximations for Parallelism in Deep Learning" (ICLR 2016, arXiv
1511.04561). The blocks and the unsigned map are from Dettmers, Lewis, Shleifer, Zettlemoyer, "8-bit
Optimizers via Block-wise Quantization" (ICLR 2022, arXiv 2110.02861). Maps, rounding and layout are those of
bitsandbytes.

Bytes: 1 per value + 4/256 for the scales.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

#: Number of values that share a scale.
BLOCK = 256
#: Divisor of a block of zeros, instead of 0.
SMALLEST_SCALE = 1e-38


@cache
def signed_map(device: torch.device) -> Tensor:
    """Return the 256 values of a signed code, float32, ascending.

    For each of 7 decades 10**(i-6): 2**i midpoints of equal intervals of [0.1, 1], with both signs. In
    addition, 0 and 1.
    """
    return _map([1, -1], first=0).to(device)


@cache
def unsigned_map(device: torch.device) -> Tensor:
    """Return the 256 values of an unsigned code, float32, ascending.

    For each decade: 2**(i+1) midpoints. In addition, 0 and 1.
    """
    return _map([1], first=1).to(device)


def _map(signs: list[int], first: int) -> Tensor:
    values = [0.0, 1.0]
    for exponent in range(7):
        edges = torch.linspace(0.1, 1, 2 ** (exponent + first) + 1, dtype=torch.float32)
        middles = ((edges[1:] + edges[:-1]) / 2 * 10 ** (exponent - 6)).tolist()
        values += [sign * middle for sign in signs for middle in middles]
    return torch.tensor(sorted(values), dtype=torch.float32)


def midpoints(table: Tensor) -> Tensor:
    """Return the midpoints of neighbors in an ascending ``table`` (n,): (n - 1,)."""
    return (table[1:] + table[:-1]) / 2


def quantize_signed(values: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize ``values``, float32 (n,), with the signed map.

    Returns codes uint8 (n,) and scales float32 (ceil(n/256),). Each value becomes the nearest code; a tie
    goes to the lower one.
    """
    return _quantize(values, signed_map(values.device))


def quantize_unsigned(values: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize non-negative ``values``, float32 (n,), with the unsigned map.

    Returns codes and scales as :func:`quantize_signed` does.
    """
    return _quantize(values, unsigned_map(values.device))


def dequantize_signed(codes: Tensor, absmax: Tensor) -> Tensor:
    """Return the values, float32 (n,), of codes uint8 (n,) of the signed map with float32 scales."""
    return per_block(signed_map(codes.device)[codes.int()], absmax, BLOCK)


def dequantize_unsigned(codes: Tensor, absmax: Tensor) -> Tensor:
    """Return the values, float32 (n,), of codes uint8 (n,) of the unsigned map with float32 scales."""
    return per_block(unsigned_map(codes.device)[codes.int()], absmax, BLOCK)


def _quantize(values: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    count = values.numel()
    blocks = torch.nn.functional.pad(values, (0, -count % BLOCK)).view(-1, BLOCK)
    absmax = blocks.abs().amax(dim=1)
    normed = blocks * absmax.clamp(min=SMALLEST_SCALE).reciprocal()[:, None]
    codes = torch.bucketize(normed, midpoints(table), out_int32=True).to(torch.uint8)
    return codes.view(-1)[:count].clone(), absmax


def per_block(values: Tensor, scales: Tensor, block: int) -> Tensor:
    """Multiply ``values`` (n,) by the scales of their blocks, the last of which may be short."""
    whole = values.numel() // block
    if whole * block == values.numel():
        return (values.view(-1, block) * scales[:, None]).view(-1)
    return values * scales.repeat_interleave(block)[: values.numel()]
