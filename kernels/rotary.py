"""Rotary position embedding (Su et al., arXiv 2104.09864), with the half-split layout of Llama.

Each value of the first half is rotated together with the value at the same place in the second half. The
backward pass rotates by the negative angle.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import dispatch, forward_mode
from .cost import KernelCost


def rotate(
    q: Tensor, k: Tensor, cosines: Tensor, sines: Tensor, *, in_place: bool = False
) -> tuple[Tensor, Tensor]:
    """Rotate ``q`` (tokens, heads, D) and ``k`` (tokens, key heads, D) by the angles of their tokens.

    ``cosines``, ``sines``: (tokens, D/2), or (tokens, R/2) to rotate only the first R values of each head.
    All tensors have the same dtype. ``in_place``: the results may overwrite q and k, which the caller must
    not use any more; autograd raises an error if another operation saved them for its backward pass. Raises
    ValueError for shapes that do not match.
    """
    tokens, _, size = q.shape
    if k.shape[2] == size and 0 < 2 * cosines.shape[1] < size:
        first = 2 * cosines.shape[1]
        turned_q, turned_k = rotate(q[..., :first], k[..., :first], cosines, sines)
        return torch.cat((turned_q, q[..., first:]), dim=2), torch.cat((turned_k, k[..., first:]), dim=2)
    if (
        k.shape[::2] != (tokens, size)
        or size % 2
        or cosines.shape != (tokens, size // 2)
        or sines.shape != cosines.shape
    ):
        raise ValueError(
            f"q {tuple(q.shape)}, k {tuple(k.shape)}, cosines {tuple(cosines.shape)} and "
            f"sines {tuple(sines.shape)} "
            "must be (tokens, heads, D), (tokens, key heads, D), (tokens, D/2) and (tokens, D/2)"
        )
    turned: tuple[Tensor, Tensor] = forward_mode.run(_Rotate, q, k, cosines, sines, in_place)
    return turned


def cost(tokens: int, heads: int, size: int, itemsize: int) -> KernelCost:
    """Cost of one pass, forward or backward.

    ``heads``: query and key heads together, of ``size`` = D values each.
    """
    values = tokens * heads * size
    return KernelCost((values + tokens * size) * itemsize, values * itemsize, 3 * values)


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, cosines: Tensor, sines: Tensor, in_place: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(cosines, sines)
        return _turn_both(q, k, cosines, sines, 1, in_place)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_q: Tensor, d_k: Tensor) -> tuple[Tensor | None, ...]:
        cosines, sines = ctx.saved_tensors
        return *_turn_both(d_q, d_k, cosines, sines, -1, False), None, None, None


def _turn_both(
    q: Tensor, k: Tensor, cosines: Tensor, sines: Tensor, sign: int, in_place: bool
) -> tuple[Tensor, Tensor]:
    if not dispatch.on_triton(q):
        return _turn(q, cosines, sines * sign), _turn(k, cosines, sines * sign)
    from .gpu import rotary as gpu

    reuse = in_place and q.is_contiguous() and k.is_contiguous()
    q, k = (x if x[0:1].is_contiguous() and x.stride(2) == 1 else x.contiguous() for x in (q, k))
    if reuse:
        if not q.is_inference():
            torch.autograd.graph.increment_version((q, k))
        outs = q.detach(), k.detach()
    else:
        outs = (
            torch.empty_like(q, memory_format=torch.contiguous_format),
            torch.empty_like(k, memory_format=torch.contiguous_format),
        )
    gpu.pair(q, k, outs, cosines.contiguous(), sines.contiguous(), sign)
    return outs


def _turn(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    cosines, sines = cosines[:, None, :], sines[:, None, :]
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), dim=-1)
