"""INT8 weights with one scale per row: the largest magnitude of the row has code 127.

This is the weight quantization of Dettmers, Lewis, Belkada, Zettlemoyer, "LLM.int8()" (NeurIPS 2022, arXiv
2208.07339).

Bytes: 1 per weight + 4 per row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from . import dispatch
from .cost import KernelCost

#: Codes range from -LARGEST to LARGEST, so that a weight and its negative have the same error.
LARGEST = 127
#: Bytes per weight. The scale of a row is negligible.
BYTES_PER_WEIGHT = 1.0


@dataclass(frozen=True, slots=True)
class INT8Tensor:
    """A weight in INT8: ``codes`` int8 (N, K), and ``scales`` float32 (N,), the value of code 1."""

    codes: Tensor
    scales: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return tuple(self.codes.shape)

    @property
    def device(self) -> torch.device:
        """Device of the weight."""
        return self.codes.device

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales."""
        return self.codes.nbytes + self.scales.nbytes


def quantize(weight: Tensor) -> INT8Tensor:
    """Quantize ``weight`` (N, K), floating point, to INT8.

    Each weight becomes the nearest multiple of its row's scale; ties go to the even one. Raises ValueError
    for another number of dimensions or values that are not finite.
    """
    if weight.dim() != 2:
        raise ValueError(f"INT8 needs a matrix (N, K), not the shape {tuple(weight.shape)}")
    weight = weight.detach()
    if not torch.isfinite(weight).all():
        raise ValueError("cannot quantize a weight with NaN or infinite values to INT8")
    if dispatch.on_triton(weight):
        from .gpu import integers as gpu

        return INT8Tensor(*gpu.quantize_int8(weight.contiguous(), LARGEST))
    wide = weight.float()
    absmax = wide.abs().amax(dim=1) if wide.shape[1] else wide.new_zeros(wide.shape[0])
    # Divide by the largest magnitude first: a tiny scale may be subnormal, and its inverse may overflow.
    shares = wide / torch.where(absmax > 0, absmax, 1.0)[:, None]
    codes = shares.mul_(LARGEST).round_().to(torch.int8)
    return INT8Tensor(codes, absmax / LARGEST)


def rounded(values: Tensor) -> INT8Tensor:
    """Return ``values`` (N, K), floating point, in INT8, without a look at them.

    A row that is not finite gets a scale that is not finite.
    """
    wide = values.float()
    absmax = wide.abs().amax(dim=1)
    shares = wide / torch.where(absmax == 0, 1.0, absmax)[:, None]
    return INT8Tensor(shares.mul_(LARGEST).round_().to(torch.int8), absmax / LARGEST)


def dequantize(weight: INT8Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the dequantized weight (N, K): ``code * scale`` in float32, rounded once to ``dtype``."""
    if dispatch.on_triton(weight.codes):
        from .gpu import integers as gpu

        out = torch.empty(weight.shape, dtype=dtype, device=weight.codes.device)
        gpu.dequantize_int8(weight.codes.contiguous(), weight.scales.contiguous(), out)
        return out
    return (weight.codes * weight.scales[:, None]).to(dtype)


def quantize_cost(rows: int, size: int, itemsize: int) -> KernelCost:
    """Cost of quantizing (N = ``rows``, K = ``size``) weights of ``itemsize`` bytes each."""
    return KernelCost(rows * size * itemsize, rows * size + 4 * rows, 3 * rows * size)


def cost(rows: int, size: int, itemsize: int) -> KernelCost:
    """Cost of decoding (N = ``rows``, K = ``size``) weights to ``itemsize`` bytes each."""
    return KernelCost(rows * size + 4 * rows, rows * size * itemsize, rows * size)
