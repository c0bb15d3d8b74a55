"""Bone: Kang, "Bone: Block-Affine Adaptation of Large Language Models" (arXiv 2409.15371).

This is its "weight guide", which PEFT calls ``bat``. The variant without it is :mod:`.miss`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ...contracts.errors import ModelError
from .adapter import Adapter

if TYPE_CHECKING:
    from ..model.linear import Linear
    from .adapter_settings import AdapterSettings


class Bone(Adapter):
    """The weight in blocks of r x r changes by ``W_nk B_n + B_n``: an affine map of the block itself.

    ``blocks`` (N / r, r, r): one B for each row of blocks, initially zero. N and K must be multiples of r.
    """

    formed: ClassVar[int] = 3

    def __init__(self, rows: int, rank: int) -> None:
        super().__init__()
        self.blocks = nn.Parameter(torch.zeros(rows // rank, rank, rank))

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        if any(size % rank for size in linear.shape):
            raise ModelError(
                f"kind 'bone' divides weights into blocks of {rank} x {rank}, but a layer is "
                f"{linear.shape[0]} x {linear.shape[1]}: give a rank that divides all sizes, or fewer targets"
            )
        return cls(linear.shape[0], rank).to(linear.device)

    def forward(self, x: Tensor, weight: Callable[[], Tensor], bias: Tensor | None) -> Tensor:
        y: Tensor = _BlockAffine.apply(x, weight, bias, self.blocks)  # type: ignore[no-untyped-call]
        return y

    def merged(self, weight: Tensor) -> Tensor:
        return _whole(weight, self.blocks.detach(), weight.dtype)

    @classmethod
    def count(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        return settings.rank * shape[0]


def _in_blocks(weight: Tensor, blocks: Tensor) -> Tensor:
    """Return a view of ``weight`` (N, K) as (N / r, r, K / r, r)."""
    rank = blocks.shape[1]
    return weight.view(len(blocks), rank, -1, rank)


def _whole(weight: Tensor, blocks: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the changed weight (N, K): the sum is computed in the blocks' dtype and rounded once."""
    parts = _in_blocks(weight.to(blocks.dtype), blocks)
    changed = parts + torch.einsum("nakb,nbc->nakc", parts, blocks) + blocks[:, :, None]
    return changed.view(weight.shape).to(dtype)


class _BlockAffine(torch.autograd.Function):
    """Saves only x and the blocks for the backward pass: the weight is made again there."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Callable[[], Tensor], bias: Tensor | None, blocks: Tensor
    ) -> Tensor:
        ctx.save_for_backward(x, blocks)
        ctx.weight = weight
        return nn.functional.linear(x, _whole(weight(), blocks, x.dtype), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        x, blocks = ctx.saved_tensors
        held = ctx.weight()
        d_x = d_y @ _whole(held, blocks, x.dtype) if ctx.needs_input_grad[0] else None
        d_whole = _in_blocks((d_y.T @ x).to(blocks.dtype), blocks)
        parts = _in_blocks(held.to(blocks.dtype), blocks)
        d_blocks = torch.einsum("nakb,nakc->nbc", parts, d_whole) + d_whole.sum(2)
        return d_x, None, None, d_blocks
