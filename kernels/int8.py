"""INT8 weights, a scale a row: the largest magnitude of the row is 127.

The weight half of Dettmers, Lewis, Belkada, Zettlemoyer, "LLM.int8()" (NeurIPS 2022, arXiv 2208.07339).

Bytes: 1 a weight + 4 a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from . import dispatch
from .cost import Cost

#: Codes run from -LARGEST to LARGEST, so that a weight and its negative have the same error.
LARGEST = 127
#: Of a weight; a row's scale counts for nothing beside its weights.
BYTES_A_WEIGHT = 1.0


@dataclass(frozen=True, slots=True)
class INT8Tensor:
    """A weight in INT8: ``codes`` int8 (N, K), ``scales`` float32 (N,), what a code of 1 stands for."""

    codes: Tensor
    scales: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight."""
        return tuple(self.codes.shape)

    @property
    def device(self) -> torch.device:
        """Where the weight lies."""
        return self.codes.device

    @property
    def nbytes(self) -> int:
        """Bytes held: codes and scales."""
        return self.codes.nbytes + self.scales.nbytes


def quantize(weight: Tensor) -> INT8Tensor:
    """``weight`` (N, K), floating, in INT8: each weight the nearest multiple of its row's scale, ties to the
    even one. Raises ValueError for another number of dimensions or values that are not finite."""
    if weight.dim() != 2:
        raise ValueError(f"INT8 is for a matrix (N, K), not for the shape {tuple(weight.shape)}")
    weight = weight.detach()
    if not torch.isfinite(weight).all():
        raise ValueError("cannot quantize a weight with NaN or infinite values to INT8")
    if dispatch.on_triton(weight):
        from .gpu import integers as gpu

        return INT8Tensor(*gpu.quantize_int8(weight.contiguous(), LARGEST))
    wide = weight.float()
    absmax = wide.abs().amax(dim=1) if wide.shape[1] else wide.new_zeros(wide.shape[0])
    # By the largest magnitude first: a scale may have lost its last bits among the smallest numbers, and its inverse overflow.
    shares = wide / torch.where(absmax > 0, absmax, 1.0)[:, None]
    codes = shares.mul_(LARGEST).round_().to(torch.int8)
    return INT8Tensor(codes, absmax / LARGEST)


def dequantize(weight: INT8Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The weight (N, K) that the codes stand for: ``code * scale`` in float32, rounded once to ``dtype``."""
    if dispatch.on_triton(weight.codes):
        from .gpu import integers as gpu

        out = torch.empty(weight.shape, dtype=dtype, device=weight.codes.device)
        gpu.dequantize_int8(weight.codes.contiguous(), weight.scales.contiguous(), out)
        return out
    return (weight.codes * weight.scales[:, None]).to(dtype)


def quantize_cost(rows: int, size: int, itemsize: int) -> Cost:
    """Finding the codes of (N = ``rows``, K = ``size``) weights of ``itemsize`` bytes each."""
    return Cost(rows * size * itemsize, rows * size + 4 * rows, 3 * rows * size)


def cost(rows: int, size: int, itemsize: int) -> Cost:
    """Decoding (N = ``rows``, K = ``size``) weights to ``itemsize`` bytes each."""
    return Cost(rows * size + 4 * rows, rows * size * itemsize, rows * size)
