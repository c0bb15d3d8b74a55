"""Formats of a frozen weight. A new one is a file in ``kernels`` and a row in ``FORMATS``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...kernels import halo, int2, int4, int8, nf4
from ...kernels.cost import KernelCost

Quantized = nf4.NF4Tensor | int8.INT8Tensor | int4.INT4Tensor | int2.INT2Tensor | halo.HALOTensor
#: A frozen weight: dense, usually in the computation dtype, or quantized.
Base = Tensor | Quantized


@dataclass(frozen=True, slots=True)
class Format:
    """A quantized format.

    ``kind``: the class of a quantized weight. ``quantize``: converts a weight (N, K) to it. ``dequantize``:
    converts it back to a weight in a given dtype. ``bytes_per_weight``: bytes per weight, including its share
    of the scales. ``cost``: the cost of decoding (N, K) weights to a number of bytes each.
    """

    kind: type[Quantized]
    quantize: Callable[[Tensor], Quantized]
    dequantize: Callable[[Any, torch.dtype], Tensor]
    bytes_per_weight: float
    cost: Callable[[int, int, int], KernelCost]


#: Formats by the value of the option ``quantize``.
FORMATS: dict[str, Format] = {
    "nf4": Format(
        nf4.NF4Tensor,
        nf4.quantize,
        nf4.dequantize,
        nf4.BYTES_PER_WEIGHT,
        lambda n, k, size: nf4.cost(n * k, size),
    ),
    "int8": Format(int8.INT8Tensor, int8.quantize, int8.dequantize, int8.BYTES_PER_WEIGHT, int8.cost),
    "int4": Format(
        int4.INT4Tensor,
        int4.quantize,
        int4.dequantize,
        int4.BYTES_PER_WEIGHT,
        lambda n, k, size: int4.cost(n * k, size),
    ),
    "int2": Format(
        int2.INT2Tensor,
        int2.quantize,
        int2.dequantize,
        int2.BYTES_PER_WEIGHT,
        lambda n, k, size: int2.cost(n * k, size),
    ),
    "halo": Format(halo.HALOTensor, halo.quantize, halo.dequantize, halo.BYTES_PER_WEIGHT, halo.cost),
}
_BY_KIND = {held.kind: held for held in FORMATS.values()}


def dense(base: Base, dtype: torch.dtype) -> Tensor:
    """Return the weight (N, K) held by ``base``, in ``dtype``."""
    return base.to(dtype) if isinstance(base, Tensor) else _BY_KIND[type(base)].dequantize(base, dtype)
