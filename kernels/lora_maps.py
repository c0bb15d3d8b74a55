"""Frozen linear maps of one input with a low-rank adapter each: common part of the LoRA operations.

``y_i = x W_i^T + bias_i + s_i (x A_i^T) B_i^T`` (Hu et al., "LoRA", arXiv 2106.09685). A weight is a
function, called when it is needed and not kept: a quantized base is dequantized just in time, once forward
and once backward. The small products are computed first, so no dense weight gradient is formed. The products
of all maps with ``x`` are merged into one, which reads ``x`` once. ``x A^T`` is recomputed in the backward
pass, which costs less than keeping it. The gradients of ``x`` are summed in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from . import forward_mode, products
from .cost import KernelCost
from .products import Weight


@dataclass(frozen=True, slots=True)
class Rounded:
    """The factors of an adapter as its products use them.

    ``a``: (r, K) and ``b``: s B, (N, r), in the input's dtype. ``scale``: s, (1,), in the dtype of B itself.
    """

    a: Tensor
    b: Tensor
    scale: Tensor

    @classmethod
    def of(cls, a: Tensor, b: Tensor, scale: float, dtype: torch.dtype) -> Rounded:
        with torch.no_grad():
            held = a if forward_mode.active() else a.detach()  # which would drop the tangents
            return cls(held.to(dtype), (b * scale).to(dtype), b.new_full((1,), scale))


@dataclass(frozen=True, slots=True)
class LoRAMap:
    """One linear map with an optional adapter.

    ``weight()`` returns the frozen weight (N, K) in the input's dtype, or packed. ``bias``: (N,). ``a`` (r,
    K) and ``b`` (N, r) may have higher precision than the input (float32 with bf16): they are rounded for the
    products, and their gradients have their own dtype. ``rounded``: these values, if the caller keeps them.
    Without ``a`` and ``b`` the map has no adapter.
    """

    weight: Callable[[], Weight]
    bias: Tensor | None
    a: Tensor | None = None
    b: Tensor | None = None
    scale: float = 1.0
    rounded: Rounded | None = None


def factors(maps: Sequence[LoRAMap]) -> list[Tensor | None]:
    """Return the factors as arguments of an autograd function: a and b of each map in turn."""
    return [factor for each in maps for factor in (each.a, each.b)]


def save(ctx: Any, maps: Sequence[LoRAMap], *tensors: Tensor) -> None:
    """Save ``tensors`` and ``maps``, except the weights' values, for an autograd function's backward pass."""
    ctx.save_for_backward(*tensors, *factors(maps))
    ctx.bases = [replace(each, a=None, b=None) for each in maps]


def saved(ctx: Any) -> tuple[list[LoRAMap], tuple[Tensor, ...]]:
    """Return the maps and the tensors saved by :func:`save`."""
    kept: tuple[Tensor, ...] = (
        ctx.saved_tensors
    )  # read only once: recomputation and offloading restore them only once
    count = 2 * len(ctx.bases)
    tensors, found = kept[:-count], kept[-count:]
    return [replace(base, a=a, b=b) for base, a, b in zip(ctx.bases, found[::2], found[1::2])], tensors


def forward(x: Tensor, maps: Sequence[LoRAMap], adapter_x: Tensor | None = None) -> list[Tensor]:
    """Apply each map to ``x`` (tokens, K): (tokens, N_i), of x's dtype.

    ``adapter_x``: the input of the adapters if it is not x.
    """
    rounded = _rounded(maps, x.dtype)
    lows = _lows(x if adapter_x is None else adapter_x, _stacked_a(rounded), rounded)
    outs = []
    for each, factors, low in zip(maps, rounded, lows):
        y = products.times(x, each.weight(), each.bias)
        outs.append(y if factors is None else y.addmm_(low, factors.b.T))
    return outs


@dataclass(frozen=True, slots=True)
class Gradients:
    """Gradients of the inputs and of the adapters.

    ``x`` and ``adapter_x``: None if not requested. ``factors``: in the order of :func:`factors`.
    """

    x: Tensor | None
    adapter_x: Tensor | None
    factors: list[Tensor | None]


def backward(
    x: Tensor,
    maps: Sequence[LoRAMap],
    d_outs: Sequence[Tensor],
    *,
    wants_x: bool,
    apart: bool = False,
    wants_adapter_x: bool = False,
) -> Gradients:
    """Return the gradients, given those of the maps' outputs.

    ``x``: the input of the adapters. ``apart``: the maps themselves have another input, so that each input
    has its own gradient.
    """
    rounded = _rounded(maps, x.dtype)
    wide = _stacked_a(rounded)
    found: list[Tensor | None] = []
    d_lows = []
    for factors, low, d_y in zip(rounded, _lows(x, wide, rounded), d_outs):
        if factors is None:
            found += [None, None]
            continue
        d_lows.append(d_y @ factors.b)
        # The product with a float32 tensor is float32: a conversion and a multiplication in one.
        found += [None, (d_y.T @ low) * factors.scale]
    if wide is not None:
        d_low = d_lows[0] if len(d_lows) == 1 else torch.cat(d_lows, dim=1)
        own = next(each.a.dtype for each in maps if each.a is not None)
        d_a = iter(torch.split((d_low.T @ x).to(own), [part.shape[1] for part in d_lows]))
        for place, each in enumerate(maps):
            if each.a is not None:
                found[2 * place] = next(d_a)
    d_x = _through_weights(maps, d_outs) if wants_x else None
    d_seen = None
    if wide is not None and not apart and d_x is not None:
        d_x.addmm_(d_low, wide)
    elif wide is not None and apart and wants_adapter_x:
        d_seen = d_low @ wide
    return Gradients(d_x, d_seen, found)


def cost(
    tokens: int, inputs: int, outputs: Sequence[int], rank: int, itemsize: int, *, backward: bool = False
) -> KernelCost:
    """Cost of one pass over (tokens, K = ``inputs``), without dequantization.

    The weights (N_i, K) have ``itemsize`` bytes each, with N_i in ``outputs``; the factors are float32.
    """
    wide = sum(outputs)
    weights, small = wide * inputs * itemsize, 4 * rank * (inputs * len(outputs) + wide)
    dense, low = 2 * tokens * inputs * wide, 2 * tokens * rank * (inputs * len(outputs) + wide)
    if backward:
        read = weights + small + tokens * (inputs + wide) * itemsize
        return KernelCost(read, small + tokens * inputs * itemsize, dense + 3 * low)
    return KernelCost(weights + small + tokens * inputs * itemsize, tokens * wide * itemsize, dense + low)


def _through_weights(maps: Sequence[LoRAMap], d_outs: Sequence[Tensor]) -> Tensor:
    d_x = products.back(d_outs[0], maps[0].weight())
    for each, d_y in zip(maps[1:], d_outs[1:]):
        d_x = products.back(d_y, each.weight(), d_x)
    return d_x


def _rounded(maps: Sequence[LoRAMap], dtype: torch.dtype) -> list[Rounded | None]:
    """Return the factors of each map in ``dtype``, None for a map without an adapter."""
    return [
        None
        if each.a is None or each.b is None
        else each.rounded or Rounded.of(each.a, each.b, each.scale, dtype)
        for each in maps
    ]


def _stacked_a(rounded: Sequence[Rounded | None]) -> Tensor | None:
    """Stack all A as rows: (sum of the ranks, K)."""
    parts = [each.a for each in rounded if each is not None]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _lows(x: Tensor, wide: Tensor | None, rounded: Sequence[Rounded | None]) -> list[Tensor]:
    """Return ``x A_i^T`` of each map, (tokens, r_i), with r_i = 0 for a map without an adapter."""
    if wide is None:
        return [x[:, :0]] * len(rounded)
    return list(torch.split(x @ wide.T, [0 if each is None else len(each.a) for each in rounded], dim=1))
