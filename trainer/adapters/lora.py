"""LoRA (Hu et al., arXiv 2106.09685) and rsLoRA (Kalajdzievski, arXiv 2312.03732)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from ...kernels.lora_linear import lora_linear

if TYPE_CHECKING:
    from ..linear import Linear
    from .initialisation import Factors
    from .settings import AdapterSettings


class LoRA(nn.Module):
    """``B A`` of rank ``rank`` over a linear layer of ``shape`` (N, K), in float32.

    Scaled by alpha / rank, or by alpha / sqrt(rank) where ``rank_stabilized`` (rsLoRA). A starts uniform in
    +-1/sqrt(K), as in PEFT, drawn from ``generator``; B starts at zero, so training starts from the base.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        *,
        rank: int,
        alpha: float,
        dropout: float = 0.0,
        rank_stabilized: bool = False,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        rows, columns = shape
        bound = 1 / math.sqrt(columns)
        self.a = nn.Parameter(torch.empty(rank, columns).uniform_(-bound, bound, generator=generator))
        self.b = nn.Parameter(torch.zeros(rows, rank))
        self.scale = alpha / math.sqrt(rank) if rank_stabilized else alpha / rank
        self.dropout = dropout

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        """A fresh adapter over ``linear``, of ``rank``, with the scale that ``settings`` give."""
        return cls(
            linear.shape,
            rank=rank,
            alpha=settings.alpha_of(rank),
            dropout=settings.dropout,
            rank_stabilized=settings.rank_stabilized,
            generator=generator,
        )

    def begin(self, factors: Factors) -> None:
        """Start from ``factors`` instead."""
        with torch.no_grad():
            self.a.copy_(factors.a)
            self.b.copy_(factors.b)

    def forward(self, x: Tensor, weight: Callable[[], Tensor], bias: Tensor | None) -> Tensor:
        dropped = dropout(x, self.dropout) if self.dropout and self.training else None
        return lora_linear(x, weight, bias, self.a, self.b, self.scale, dropped)

    def state(self) -> dict[str, Tensor]:
        """PEFT's names for the factors: A (rank, K), B (N, rank)."""
        return {"lora_A.weight": self.a.detach(), "lora_B.weight": self.b.detach()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Take the factors from ``state``. Raises KeyError or RuntimeError where they do not fit."""
        with torch.no_grad():
            self.a.copy_(state["lora_A.weight"])
            self.b.copy_(state["lora_B.weight"])
