"""Gated MLP ``down(act(gate(x)) * up(x))`` with low-rank adapters, as one autograd operation.

SwiGLU: Shazeer, arXiv 2002.05202; LoRA: Hu et al., arXiv 2106.09685; fused as in Daniel and Michael Han's
Unsloth (2023; no paper). Saves ``x``, ``gate(x)``, ``up(x)`` and the factors of the adapters. The product is
recomputed in the backward pass, so an MLP saves two thirds of the I-wide values that its parts would save
separately. Gradients reuse the memory of the values that they replace; see :mod:`.lora_maps`.

FLOP for M tokens, H hidden, I inner values, rank r: 6*M*H*I + 6*M*r*(H+I) forward, 6*M*H*I + 18*M*r*(H+I)
backward.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import forward_mode, lora_maps, swiglu
from .cost import KernelCost
from .lora_maps import LoRAMap
from .swiglu import Activation


def lora_mlp(
    x: Tensor, gate: LoRAMap, up: LoRAMap, down: LoRAMap, *, activation: Activation = "silu"
) -> Tensor:
    """Apply the MLP to ``x`` (tokens, H): (tokens, H), of x's dtype.

    Differentiable once with respect to x and the factors of the adapters.
    """
    maps = (gate, up, down)
    y: Tensor = forward_mode.run(_LoRAMLP, x, maps, activation, *lora_maps.factors(maps))
    return y


def cost(
    tokens: int, hidden: int, inner: int, rank: int, itemsize: int, *, backward: bool = False
) -> KernelCost:
    """Cost of one pass: its maps, and the product between them (recomputed in the backward pass)."""
    widened = lora_maps.cost(tokens, hidden, [inner, inner], rank, itemsize, backward=backward)
    narrowed = lora_maps.cost(tokens, inner, [hidden], rank, itemsize, backward=backward)
    both = widened + narrowed + swiglu.cost(tokens, inner, itemsize)
    return both + swiglu.cost(tokens, inner, itemsize, backward=True) if backward else both


class _LoRAMLP(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, maps: tuple[LoRAMap, ...], activation: Activation, *factors: Tensor | None
    ) -> Tensor:
        gate, up = lora_maps.forward(x, maps[:2])
        lora_maps.save(ctx, maps, x, gate, up)
        ctx.activation = activation
        return lora_maps.forward(swiglu.product(gate, up, activation), maps[2:])[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        maps, (x, gate, up) = lora_maps.saved(ctx)
        product = swiglu.product(gate, up, ctx.activation)
        narrowed = lora_maps.backward(product, maps[2:], [d_y], wants_x=True)
        del product
        assert narrowed.x is not None
        d_gate, d_up = swiglu.gradients(narrowed.x, gate, up, ctx.activation, reuse=True)
        widened = lora_maps.backward(x, maps[:2], [d_gate, d_up], wants_x=ctx.needs_input_grad[0])
        return widened.x, None, None, *widened.factors, *narrowed.factors
