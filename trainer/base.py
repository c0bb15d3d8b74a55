"""What a frozen layer holds of its weight: the slot for quantized formats. A new one is a file in ``kernels`` and a row below."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..kernels import int4, int8, nf4
from ..kernels.cost import Cost

Quantized = nf4.NF4Tensor | int8.INT8Tensor | int4.INT4Tensor
#: Dense, in the computing dtype, or quantized.
Base = Tensor | Quantized


@dataclass(frozen=True, slots=True)
class Format:
    """``kind``: the class of a quantized weight. ``quantize`` makes one of a weight (N, K), ``dequantize`` the weight again, in
    a dtype. ``bytes_a_weight``: what one takes, its share of the scales counted. ``cost``: of decoding (N, K) weights to
    so many bytes each."""

    kind: type[Quantized]
    quantize: Callable[[Tensor], Quantized]
    dequantize: Callable[[Any, torch.dtype], Tensor]
    bytes_a_weight: float
    cost: Callable[[int, int, int], Cost]


#: ``quantize`` -> its format.
FORMATS: dict[str, Format] = {
    "nf4": Format(
        nf4.NF4Tensor,
        nf4.quantize,
        nf4.dequantize,
        nf4.BYTES_A_WEIGHT,
        lambda n, k, size: nf4.cost(n * k, size),
    ),
    "int8": Format(int8.INT8Tensor, int8.quantize, int8.dequantize, int8.BYTES_A_WEIGHT, int8.cost),
    "int4": Format(
        int4.INT4Tensor,
        int4.quantize,
        int4.dequantize,
        int4.BYTES_A_WEIGHT,
        lambda n, k, size: int4.cost(n * k, size),
    ),
}
_BY_KIND = {held.kind: held for held in FORMATS.values()}


def dense(base: Base, dtype: torch.dtype) -> Tensor:
    """The weight (N, K) that ``base`` holds, in ``dtype``."""
    return base.to(dtype) if isinstance(base, Tensor) else _BY_KIND[type(base)].dequantize(base, dtype)
