"""HALO: matrix products of int8 codes with Hadamard rotations around them, forward and backward.

Ashkboos, Nikdan, Tabesh, Castro, Hoefler, Alistarh, "HALO: Hadamard-Assisted Lower-Precision Optimization for
LLMs" (arXiv 2501.02625), its level 2. A rotation spreads an outlier over all values of its row, so that fewer
values are rounded to zero. With an orthogonal H, the forward pass is ``(x H) (W H)^T``, where both factors
are int8. In the backward pass, the gradient of the output is rotated along the tokens, since its outliers are
whole tokens: ``d_x = G^T ((G d_y) (W H)) H^T``, again of int8 factors. Only the codes of ``W H`` are kept.

A Hadamard matrix exists for powers of two: H is block-diagonal with blocks of the largest power of two that
divides K, at most ``BLOCK``. G has blocks of ``TOKENS``, and the tokens are padded with zeros. Each row of a
factor has its own scale; the scales of W's rows are multiplied into ``d_y`` before it is rounded.

Bytes: 1 per weight + 4 per row. The products are int8 products of PyTorch with int32 sums.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from . import int8
from .cost import KernelCost

#: Largest block of the rotation of inputs, and the block of the rotation of tokens.
BLOCK, TOKENS = 1024, 32
BYTES_PER_WEIGHT = int8.BYTES_PER_WEIGHT
#: Multiples that the sizes of an int8 product must have on a GPU, and the fewest rows of its first factor.
MULTIPLE, FEWEST = 8, 32


@dataclass(frozen=True, slots=True, eq=False)
class HALOTensor:
    """A weight W (N, K): ``rotated`` holds W H in INT8."""

    rotated: int8.INT8Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return self.rotated.shape

    @property
    def device(self) -> torch.device:
        """Device of the weight."""
        return self.rotated.device

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales."""
        return self.rotated.nbytes

    def times(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return ``x W^T + bias``, (tokens, N), in the dtype of ``x`` (tokens, K)."""
        given = int8.rounded(rotate(x))
        y = product(given.codes, self.rotated.codes.T).float()
        y = y.mul_(given.scales[:, None]).mul_(self.rotated.scales).to(x.dtype)
        return y if bias is None else y + bias

    def back(self, d_y: Tensor, onto: Tensor | None) -> Tensor:
        """Return ``d_y W + onto``, (tokens, K), for ``d_y`` (tokens, N)."""
        tokens = len(d_y)
        scaled = pad(d_y.float() * self.rotated.scales, (0, 0, 0, -tokens % TOKENS))
        given = int8.rounded(rotate(scaled.T, TOKENS).T)
        found = product(given.codes, self.rotated.codes).float().mul_(given.scales[:, None])
        d_x = rotate(rotate(found.T, TOKENS).T[:tokens], block_of(self.shape[1])).to(d_y.dtype)
        return d_x if onto is None else onto.add_(d_x)


def quantize(weight: Tensor) -> HALOTensor:
    """Rotate ``weight`` (N, K), floating point, and quantize it to INT8; see :func:`.int8.quantize`."""
    if weight.dim() != 2:
        raise ValueError(f"HALO needs a matrix (N, K), not the shape {tuple(weight.shape)}")
    return HALOTensor(int8.quantize(rotate(weight.detach().float())))


def dequantize(weight: HALOTensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the weight (N, K) that the products approximate: the codes, rotated back."""
    return rotate(int8.dequantize(weight.rotated), block_of(weight.shape[1])).to(dtype)


def rotate(values: Tensor, block: int | None = None) -> Tensor:
    """Return ``values H`` for ``values`` (rows, K). H is symmetric, so this is also the rotation back.

    ``block``: of H's blocks, a power of two that divides K; by default :func:`block_of` K.
    """
    block = block or block_of(values.shape[1])
    parts = values.reshape(len(values), -1, block)
    return (parts @ hadamard(block, values.device).to(values.dtype)).view(values.shape)


def block_of(size: int) -> int:
    """Return the largest power of two, at most ``BLOCK``, that divides ``size``."""
    return min(size & -size, BLOCK)


@cache
def hadamard(size: int, device: torch.device) -> Tensor:
    """Return the orthogonal symmetric Hadamard matrix of ``size``, a power of two: float64 (size, size)."""
    found = torch.ones(1, 1, dtype=torch.float64, device=device)
    while len(found) < size:
        found = torch.cat([torch.cat([found, found], 1), torch.cat([found, -found], 1)])
    return found / math.sqrt(size)


def product(left: Tensor, right: Tensor) -> Tensor:
    """Return the product of int8 matrices (M, K) and (K, N), int32."""
    (rows, inner), columns = left.shape, right.shape[1]
    if left.device.type == "cuda":  # pad to the sizes that its kernel takes
        left = pad(left, (0, -inner % MULTIPLE, 0, max(0, FEWEST - rows)))
        right = pad(right, (0, -columns % MULTIPLE, 0, -inner % MULTIPLE))
    return torch._int_mm(left.contiguous(), right.contiguous())[:rows, :columns]


def cost(rows: int, size: int, itemsize: int) -> KernelCost:
    """Cost of decoding (N = ``rows``, K = ``size``) weights to ``itemsize`` bytes each."""
    plain = int8.cost(rows, size, itemsize)
    return KernelCost(plain.read, plain.written, plain.flop + 2 * rows * size * block_of(size))
