"""L4Q: Jeon, Kim, Kim, "L4Q: Parameter Efficient Quantization-Aware Fine-Tuning on Large Language Models"
(ACL 2025, arXiv 2402.04902): LoRA and a learned step size, Esser et al., LSQ (arXiv 1902.08153).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear as product

from ...contracts.errors import ModelError
from .adapter import Adapter

if TYPE_CHECKING:
    from ..model.linear import Linear
    from .adapter_settings import AdapterSettings

#: Smallest step size, for a group of zeros.
SMALLEST = 1e-8


class L4Q(Adapter):
    """Every pass quantizes ``W + s B A``, with step sizes and offsets that are trained with the factors.

    So what is trained is the quantized weight itself, and merging gives exactly it. ``steps`` and ``offsets``
    (N, K / group) belong to groups of a row. Initially an offset is 0, and a step size is the smallest with
    which no weight of the group is clipped. The gradient treats rounding as the identity, and is zero for
    factors where a weight is clipped. The weight is formed again in the backward pass, and not kept.
    """

    formed: ClassVar[int] = 5

    def __init__(
        self, weight: Tensor, rank: int, scale: float, bits: int, group: int, generator: torch.Generator
    ) -> None:
        """``weight`` (N, K): the base's, float32."""
        super().__init__()
        (rows, columns), bound = weight.shape, 1 / math.sqrt(weight.shape[1])
        a = torch.empty(rank, columns).uniform_(-bound, bound, generator=generator)
        self.a, self.b = nn.Parameter(a), nn.Parameter(torch.zeros(rows, rank))
        self.scale, self.least, self.most = scale, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        parts = weight.view(rows, -1, group)
        needed = torch.maximum(parts.amin(2) / self.least, parts.amax(2) / self.most)
        self.steps = nn.Parameter(needed.clamp(min=SMALLEST))
        self.offsets = nn.Parameter(torch.zeros_like(needed))

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        group = settings.l4q_group
        if linear.shape[1] % group:
            raise ModelError(
                f"kind 'l4q' quantizes groups of {group} weights of a row, but a layer has "
                f"{linear.shape[1]} inputs: give an l4q_group that divides all sizes, or fewer targets"
            )
        scale = settings.alpha_of(rank) / rank
        fresh = cls(linear.weight().float(), rank, scale, settings.l4q_bits, group, generator)
        return fresh.to(linear.device)

    def forward(self, x: Tensor, weight: Callable[[], Tensor], bias: Tensor | None) -> Tensor:
        y: Tensor = _QuantizedLinear.apply(  # type: ignore[no-untyped-call]
            x, weight, bias, self.a, self.b, self.steps, self.offsets, self.scale, self.least, self.most
        )
        return y

    def merged(self, weight: Tensor) -> Tensor:
        """Return the quantized weight."""
        with torch.no_grad():
            full = weight.addmm(self.b, self.a, alpha=self.scale)
            return _quantized(full, self.steps, self.offsets, self.least, self.most)[0]

    @classmethod
    def count(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        rows, columns = shape
        return settings.rank * (rows + columns) + 2 * rows * (columns // settings.l4q_group)


def _quantized(
    full: Tensor, steps: Tensor, offsets: Tensor, least: int, most: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the quantized ``full`` (N, K), its codes, and its distance from the offset in steps.

    The last two are (N, groups, group), in the dtype of the step sizes.
    """
    groups = full.to(steps.dtype).view(*steps.shape, -1)
    levels = (groups - offsets[..., None]) / steps[..., None]
    codes = levels.clamp(least, most).round_()
    return (codes * steps[..., None] + offsets[..., None]).view(full.shape), codes, levels


class _QuantizedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Callable[[], Tensor],
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        steps: Tensor,
        offsets: Tensor,
        scale: float,
        least: int,
        most: int,
    ) -> Tensor:
        ctx.save_for_backward(x, a, b, steps, offsets)
        ctx.weight, ctx.scale, ctx.range = weight, scale, (least, most)
        full = weight().to(a.dtype).addmm(b, a, alpha=scale)
        return product(x, _quantized(full, steps, offsets, least, most)[0].to(x.dtype), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        x, a, b, steps, offsets = ctx.saved_tensors
        least, most = ctx.range
        full = ctx.weight().to(a.dtype).addmm(b, a, alpha=ctx.scale)
        quantized, codes, levels = _quantized(full, steps, offsets, least, most)
        d_x = d_y @ quantized.to(d_y.dtype) if ctx.needs_input_grad[0] else None
        d_whole = (d_y.T @ x).to(a.dtype).view(codes.shape)
        inside = (levels >= least) & (levels <= most)
        d_steps = (d_whole * torch.where(inside, codes - levels, codes)).sum(2)
        d_offsets = d_whole.masked_fill(inside, 0.0).sum(2)
        d_full = d_whole.masked_fill_(~inside, 0.0).view(full.shape)
        d_a, d_b = ctx.scale * (b.T @ d_full), ctx.scale * (d_full @ a.T)
        return d_x, None, None, d_a, d_b, d_steps, d_offsets, None, None, None
