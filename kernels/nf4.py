"""NF4: 4-bit NormalFloat weights in blocks, with double quantization of the block scales.

Dettmers, Pagnoni, Holtzman, Zettlemoyer, "QLoRA: Efficient Finetuning of Quantized LLMs" (NeurIPS 2023, arXiv
2305.14314). Codes, rounding and packing are those of bitsandbytes: weights are in row-major order with two
codes per byte, the first in the high nibble. The scale of a block is its largest magnitude. Double
quantization subtracts the mean from the scales and stores them in 8 bits with the signed dynamic map, in
blocks of 256.

Decoding is bitwise equal to bitsandbytes 0.50.2, and so are codes and float32 scales. For about 1 in 600 of
the 8-bit scales, next to a rounding boundary, its CPU encoder takes a code next to the nearest one, which is
taken here.

Bytes: 0.5 per weight + 1/64 + 4/(64*256) for the scales = 0.516 (with float32 scales: 0.5625).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from . import dispatch
from .blockwise import BLOCK as SCALE_BLOCK
from .blockwise import SMALLEST_SCALE, dequantize_signed, midpoints, per_block, quantize_signed, signed_map
from .cost import KernelCost

#: The 16 values of a NormalFloat4 code: quantiles of a normal distribution, with exact -1, 0 and 1.
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
#: Number of weights that share a scale.
BLOCK = 64
#: Bytes per weight with nested scales.
BYTES_PER_WEIGHT = 0.5 + 1 / BLOCK + 4 / (BLOCK * SCALE_BLOCK)


@dataclass(frozen=True, slots=True)
class NestedScales:
    """Block scales in 8 bits.

    ``codes``: uint8 (blocks,). ``absmax``: float32 (ceil(blocks/256),). ``offset``: float32 (), the mean of
    the scales.
    """

    codes: Tensor
    absmax: Tensor
    offset: Tensor

    def decode(self) -> Tensor:
        """Return the scales, float32 (blocks,).

        Product and sum are rounded separately, as in bitsandbytes.
        """
        return dequantize_signed(self.codes, self.absmax).add_(self.offset)


@dataclass(frozen=True, slots=True)
class NF4Tensor:
    """A weight in NF4.

    ``packed``: uint8 (ceil(n/2),) for n weights. ``scales``: float32 (ceil(n/block),), or nested. ``shape``:
    shape of the weight. ``block``: number of weights that share a scale.
    """

    packed: Tensor
    scales: Tensor | NestedScales
    shape: tuple[int, ...]
    block: int = BLOCK

    @property
    def device(self) -> torch.device:
        """Device of the weight."""
        return self.packed.device

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales."""
        scales = self.scales
        parts = [scales] if isinstance(scales, Tensor) else [scales.codes, scales.absmax, scales.offset]
        return sum(part.nbytes for part in [self.packed, *parts])


def quantize(weight: Tensor, *, block: int = BLOCK, nested: bool = True) -> NF4Tensor:
    """Quantize ``weight`` (any shape, floating point) to NF4.

    Each weight is divided by its block's largest magnitude and becomes the nearest code. Ties go to the lower
    code. Raises ValueError for a weight that is not finite, or if the block is not a power of two of at least
    2.
    """
    if block < 2 or block & (block - 1):
        raise ValueError(f"block = {block}: give a power of two of at least 2")
    flat = weight.detach().reshape(-1)
    if not torch.isfinite(flat).all():
        raise ValueError("cannot quantize a weight with NaN or infinite values to NF4")
    if dispatch.on_triton(flat):
        from .gpu import nf4 as gpu

        packed, absmax = gpu.quantize(flat.contiguous(), _midpoints(flat.device), block, SMALLEST_SCALE)
    else:
        packed, absmax = _plain_quantize(flat.float(), block)
    return NF4Tensor(packed, nest_scales(absmax) if nested else absmax, tuple(weight.shape), block)


def _plain_quantize(flat: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """Return packed codes and scales of ``flat``, float32 (n,)."""
    count = flat.numel()
    blocks = torch.nn.functional.pad(flat, (0, -count % block)).view(-1, block)
    absmax = blocks.abs().amax(dim=1)
    normed = blocks * absmax.clamp(min=SMALLEST_SCALE).reciprocal()[:, None]
    codes = torch.bucketize(normed, _midpoints(flat.device), out_int32=True).to(torch.uint8).view(-1)[:count]
    # If the number of weights is odd, the unused low nibble has the code of weight 0, as in bitsandbytes.
    pairs = torch.nn.functional.pad(codes, (0, count % 2)).view(-1, 2)
    return (pairs[:, 0] << 4) | pairs[:, 1], absmax


def dequantize(weight: NF4Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the dequantized weight, of ``weight.shape``.

    Computes ``code * scale`` in float32, rounded once to ``dtype``. One table lookup per byte returns the
    values of both its codes as one 8-byte element, followed by one multiplication.
    """
    if dispatch.on_triton(weight.packed):
        from .gpu import nf4 as gpu

        device, scales = weight.packed.device, weight.scales
        out = torch.empty(weight.shape, dtype=dtype, device=device)
        given = (
            scales
            if isinstance(scales, Tensor)
            else (scales.codes, signed_map(device), scales.absmax, scales.offset)
        )
        gpu.dequantize(weight.packed, given, _codes(device), out, weight.block, SCALE_BLOCK)
        return out
    decoded = weight.scales if isinstance(weight.scales, Tensor) else weight.scales.decode()
    pairs = torch.index_select(_byte_table(weight.packed.device), 0, weight.packed.int())
    values = pairs.view(torch.float32)[: math.prod(weight.shape)]
    return per_block(values, decoded, weight.block).to(dtype).view(weight.shape)


def cost(count: int, itemsize: int, *, nested: bool = True, block: int = BLOCK) -> KernelCost:
    """Cost of decoding ``count`` weights to ``itemsize`` bytes each. Encoding moves as many bytes."""
    blocks = -(-count // block)
    scales = blocks + 4 * -(-blocks // SCALE_BLOCK) + 4 if nested else 4 * blocks
    return KernelCost(-(-count // 2) + scales, count * itemsize, count)


def nest_scales(absmax: Tensor) -> NestedScales:
    """Quantize block scales, float32 (blocks,), to 8 bits.

    Their mean is subtracted, and they are quantized with the dynamic map in blocks of 256.
    """
    offset = absmax.mean()
    codes, largest = quantize_signed(absmax - offset)
    return NestedScales(codes, largest, offset)


@cache
def _codes(device: torch.device) -> Tensor:
    return torch.tensor(CODEBOOK, device=device)


@cache
def _midpoints(device: torch.device) -> Tensor:
    """Return the 15 midpoints of neighboring codes, float32."""
    return midpoints(_codes(device))


@cache
def _byte_table(device: torch.device) -> Tensor:
    """Return for each byte the float32 values of its two codes, high nibble first, as one int64: (256,)."""
    codes = _codes(device)
    byte = torch.arange(256, device=device)
    return torch.stack([codes[byte >> 4], codes[byte & 15]], dim=1).view(torch.int64).view(-1)
