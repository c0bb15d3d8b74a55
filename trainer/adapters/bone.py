"""Bone: Kang, "Bone: Block-Affine Adaptation of Large Language Models" (arXiv 2409.15371).

This is its "weight guide", which PEFT calls ``bat``. The variant without it is :mod:`.miss`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ...contracts.errors import ModelError
from .adapter import Adapter

if TYPE_CHECKING:
    from ..model.linear import Linear
    from .adapter_settings import AdapterSettings


#: Parts of a weight's rows of which one at a time is in the blocks' dtype. A whole float32 copy took a fifth
#: more memory in a training of SmolLM2-135M, in holes between the blocks that glibc's allocator hands out.
PARTS = 8


class Bone(Adapter):
    """The weight in blocks of r x r changes by ``W_nk B_n + B_n``: an affine map of the block itself.

    ``blocks`` (N / r, r, r): one B for each row of blocks, initially zero. N and K must be multiples of r.
    """

    formed: ClassVar[int] = 1

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
    """Return the changed weight (N, K): each sum is computed in the blocks' dtype and rounded once."""
    whole = torch.empty_like(weight, dtype=dtype)
    for own, held, changed in _by_part(blocks, weight, whole):
        held = held.to(own.dtype)
        changed.copy_(torch.einsum("nakb,nbc->nakc", held, own).add_(held).add_(own[:, :, None]))
    return whole


def _by_part(blocks: Tensor, *weights: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield views of some of the ``blocks``, and of the same rows of ``weights`` in blocks."""
    return zip(blocks.chunk(PARTS), *(_in_blocks(each, blocks).chunk(PARTS) for each in weights))


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
        d_parts = []
        for own, part, d_part in _by_part(blocks, held, d_y.T @ x):
            d_part = d_part.to(own.dtype)
            d_parts.append(torch.einsum("nakb,nakc->nbc", part.to(own.dtype), d_part) + d_part.sum(2))
        return d_x, None, None, torch.cat(d_parts)
