"""Rotary position embedding (Su et al., arXiv 2104.09864), of the half-split layout of Llama.

A value of the first half turns with the one of the second half at the same place; the backward pass turns back.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """``x`` (tokens, heads, D) turned by its tokens' angles. ``cosines``, ``sines`` (tokens, D/2), of x's dtype."""
    turned: Tensor = _Rotate.apply(x, cosines[:, None, :], sines[:, None, :])  # type: ignore[no-untyped-call]
    return turned


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        ctx.save_for_backward(cosines, sines)
        return _turn(x, cosines, sines)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        cosines, sines = ctx.saved_tensors
        return _turn(upstream, cosines, -sines), None, None


def _turn(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), dim=-1)
