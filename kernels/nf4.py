"""NF4: 4-bit NormalFloat weights in blocks, with double quantization of the block scales.

Dettmers, Pagnoni, Holtzman, Zettlemoyer, "QLoRA: Efficient Finetuning of Quantized LLMs"
(NeurIPS 2023, arXiv 2305.14314). Codes, rounding and packing are those of bitsandbytes: weights in
row-major order, two codes a byte, the first in the high nibble; a block's scale is the largest
magnitude in it; double quantization stores the scales, less their mean, in 8 bits by the signed
dynamic map, in blocks of 256. Decoding is equal to bitsandbytes 0.50.2 to the bit, and so are codes and flat scales; of
the 8-bit scales its CPU encoder puts about 1 in 600, next to a border, one code further off than the nearest, taken here.

Bytes: 0.5 a weight + 1/64 + 4/(64*256) for the scales = 0.516 (flat scales: 0.5625).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

#: The 16 values of a NormalFloat4 code (quantiles of a normal distribution, 0 and both ends exact).
CODEBOOK = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
BLOCK = 64
SCALE_BLOCK = 256
#: An all-zero block keeps a scale above zero, so that its reciprocal is finite.
SMALLEST_SCALE = 1e-38


@dataclass(frozen=True, slots=True)
class NestedScales:
    """Block scales in 8 bits: ``codes`` uint8 (blocks,), ``absmax`` float32 (ceil(blocks/256),),
    ``offset`` float32 (): the mean of the scales."""

    codes: Tensor
    absmax: Tensor
    offset: Tensor

    def decode(self) -> Tensor:
        """The scales, float32 (blocks,). Product and sum round one after the other, as bitsandbytes does."""
        values = _dynamic_map(self.codes.device)[self.codes.int()]
        return _per_block(values, self.absmax, SCALE_BLOCK).add_(self.offset)


@dataclass(frozen=True, slots=True)
class NF4Tensor:
    """A weight in NF4. ``packed`` uint8 (ceil(n/2),) for n weights; ``scales``: float32
    (ceil(n/block),), or nested; ``shape`` of the weight; ``block``: weights that share a scale."""

    packed: Tensor
    scales: Tensor | NestedScales
    shape: tuple[int, ...]
    block: int = BLOCK

    @property
    def nbytes(self) -> int:
        """Bytes held: codes and scales."""
        scales = self.scales
        parts = [scales] if isinstance(scales, Tensor) else [scales.codes, scales.absmax, scales.offset]
        return sum(part.nbytes for part in [self.packed, *parts])


def quantize(weight: Tensor, *, block: int = BLOCK, nested: bool = True) -> NF4Tensor:
    """``weight`` (any shape, floating) in NF4: each weight over its block's largest magnitude, as the
    nearest code. Ties go to the lower code. Raises ValueError for a weight that is not finite."""
    flat = weight.detach().reshape(-1).float()
    if not torch.isfinite(flat).all():
        raise ValueError("cannot quantize a weight with NaN or infinite values to NF4")
    count = flat.numel()
    blocks = torch.nn.functional.pad(flat, (0, -count % block)).view(-1, block)
    absmax = blocks.abs().amax(dim=1)
    normed = blocks * absmax.clamp(min=SMALLEST_SCALE).reciprocal()[:, None]
    codes = torch.bucketize(normed, _midpoints(flat.device), out_int32=True).to(torch.uint8).view(-1)[:count]
    # The unused low nibble of an odd tail holds the code of zero weight 0, as in bitsandbytes.
    pairs = torch.nn.functional.pad(codes, (0, count % 2)).view(-1, 2)
    packed = (pairs[:, 0] << 4) | pairs[:, 1]
    return NF4Tensor(packed, nest_scales(absmax) if nested else absmax, tuple(weight.shape), block)


def dequantize(weight: NF4Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The weight that the codes stand for, of ``weight.shape``: ``code * scale`` in float32, rounded
    once to ``dtype``.

    One table look-up a byte fetches both its codes as one 8-byte element; then one multiplication.
    """
    scales = weight.scales if isinstance(weight.scales, Tensor) else weight.scales.decode()
    pairs = torch.index_select(_byte_table(weight.packed.device), 0, weight.packed.int())
    count = 1
    for size in weight.shape:
        count *= size
    values = pairs.view(torch.float32)[:count]
    return _per_block(values, scales, weight.block).to(dtype).view(weight.shape)


def nest_scales(absmax: Tensor) -> NestedScales:
    """Block scales, float32 (blocks,), in 8 bits: less their mean, by the dynamic map, in blocks of 256."""
    offset = absmax.mean()
    centred = absmax - offset
    blocks = torch.nn.functional.pad(centred, (0, -centred.numel() % SCALE_BLOCK)).view(-1, SCALE_BLOCK)
    largest = blocks.abs().amax(dim=1)
    normed = blocks * largest.clamp(min=SMALLEST_SCALE).reciprocal()[:, None]
    table = _dynamic_map(absmax.device)
    codes = torch.bucketize(normed, (table[1:] + table[:-1]) / 2, out_int32=True)
    return NestedScales(codes.to(torch.uint8).view(-1)[: centred.numel()].clone(), largest, offset)


def _per_block(values: Tensor, scales: Tensor, block: int) -> Tensor:
    """``values`` (n,) times the scale of their block, the last of which may be short."""
    whole = values.numel() // block
    if whole * block == values.numel():
        return (values.view(-1, block) * scales[:, None]).view(-1)
    return values * scales.repeat_interleave(block)[: values.numel()]


@cache
def _midpoints(device: torch.device) -> Tensor:
    """The 15 values between neighbouring codes, float32."""
    codes = torch.tensor(CODEBOOK, device=device)
    return (codes[1:] + codes[:-1]) / 2


@cache
def _byte_table(device: torch.device) -> Tensor:
    """For each byte its two codes' float32 values, high nibble first, as one int64: (256,)."""
    codes = torch.tensor(CODEBOOK, device=device)
    byte = torch.arange(256, device=device)
    return torch.stack([codes[byte >> 4], codes[byte & 15]], dim=1).view(torch.int64).view(-1)


@cache
def _dynamic_map(device: torch.device) -> Tensor:
    """The signed dynamic 8-bit map: float32 (256,), rising.

    For each of 7 decades 10**(i-6), 2**i midpoints of equal intervals of [0.1, 1], of both signs; 0 and 1.
    Dettmers, "8-Bit Approximations for Parallelism in Deep Learning" (ICLR 2016, arXiv 1511.04561).
    """
    values = [0.0, 1.0]
    for exponent in range(7):
        edges = torch.linspace(0.1, 1, 2**exponent + 1, dtype=torch.float32)
        for middle in ((edges[1:] + edges[:-1]) / 2 * 10 ** (exponent - 6)).tolist():
            values += [middle, -middle]
    return torch.tensor(sorted(values), dtype=torch.float32, device=device)
