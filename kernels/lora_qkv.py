"""Query, key and value projections with low-rank adapters, as one autograd operation.

Based on the fused LoRA autograd of Daniel and Michael Han's Unsloth (2023; no paper). ``x`` is saved once,
its three gradients are summed in place, and the three small products with it are merged into one; see
:mod:`.lora_maps`.

FLOP for M tokens, K inputs, N outputs in total, rank r: 2*M*K*N + 2*M*r*(3*K+N) forward, 2*M*K*N +
6*M*r*(3*K+N) backward.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import forward_mode, lora_maps
from .cost import KernelCost
from .lora_maps import LoRAMap


def lora_qkv(x: Tensor, q: LoRAMap, k: LoRAMap, v: LoRAMap) -> tuple[Tensor, Tensor, Tensor]:
    """Apply the three maps to ``x`` (tokens, K): (tokens, N_i) each, of x's dtype.

    Differentiable once with respect to x and the factors of the adapters.
    """
    maps = (q, k, v)
    projected: tuple[Tensor, Tensor, Tensor] = forward_mode.run(_LoRAQKV, x, maps, *lora_maps.factors(maps))
    return projected


def cost(
    tokens: int, inputs: int, queries: int, keys: int, rank: int, itemsize: int, *, backward: bool = False
) -> KernelCost:
    """Cost of one pass.

    ``queries``: outputs of the query projection. ``keys``: outputs of the key projection, and of the value
    projection.
    """
    return lora_maps.cost(tokens, inputs, [queries, keys, keys], rank, itemsize, backward=backward)


class _LoRAQKV(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, maps: tuple[LoRAMap, ...], *factors: Tensor | None
    ) -> tuple[Tensor, ...]:
        lora_maps.save(ctx, maps, x)
        return tuple(lora_maps.forward(x, maps))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *d_outs: Tensor) -> tuple[Tensor | None, ...]:
        maps, (x,) = lora_maps.saved(ctx)
        found = lora_maps.backward(x, maps, d_outs, wants_x=ctx.needs_input_grad[0])
        return found.x, None, *found.factors
