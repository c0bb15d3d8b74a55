"""Frozen linear map with a low-rank adapter (LoRA), as one autograd operation.

``y = x W^T + bias + s (x A^T) B^T`` (Hu et al., "LoRA", arXiv 2106.09685). Only ``x`` and the factors of the
adapter are saved. Both passes are described in :mod:`.lora_maps`.

FLOP for M tokens, N x K weights, rank r: 2*M*K*N + 2*M*r*(K+N) forward, 2*M*K*N + 6*M*r*(K+N) backward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import forward_mode, lora_maps
from .cost import KernelCost
from .lora_maps import LoRAMap, Rounded
from .products import Weight


def lora_linear(
    x: Tensor,
    weight: Callable[[], Weight],
    bias: Tensor | None,
    a: Tensor,
    b: Tensor,
    scale: float,
    adapter_x: Tensor | None = None,
    rounded: Rounded | None = None,
) -> Tensor:
    """Apply the adapted linear map to ``x`` (tokens, K): (tokens, N), of x's dtype.

    ``weight``, ``bias``, ``a``, ``b``, ``rounded``: see :class:`gristmill.kernels.lora_maps.LoRAMap`.
    ``adapter_x``: the input of the adapter if it is not ``x`` (x after dropout).
    """
    adapted = LoRAMap(weight, bias, a, b, scale, rounded)
    y: Tensor = forward_mode.run(_LoRALinear, x, adapter_x, adapted, a, b)
    return y


def cost(
    tokens: int, inputs: int, outputs: int, rank: int, itemsize: int, *, backward: bool = False
) -> KernelCost:
    """Cost of one pass; see :func:`gristmill.kernels.lora_maps.cost`."""
    return lora_maps.cost(tokens, inputs, [outputs], rank, itemsize, backward=backward)


class _LoRALinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, adapter_x: Tensor | None, adapted: LoRAMap, a: Tensor, b: Tensor
    ) -> Tensor:
        lora_maps.save(ctx, [adapted], x if adapter_x is None else adapter_x)
        ctx.apart = adapter_x is not None
        return lora_maps.forward(x, [adapted], adapter_x)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        maps, (seen,) = lora_maps.saved(ctx)
        wants_x, wants_seen = ctx.needs_input_grad[:2]
        found = lora_maps.backward(
            seen, maps, [d_y], wants_x=wants_x, apart=ctx.apart, wants_adapter_x=wants_seen
        )
        return found.x, found.adapter_x, None, *found.factors
