"""LoRA, rsLoRA, LoRA+, and LoRA with a frozen A.

LoRA: Hu et al., arXiv 2106.09685. rsLoRA: Kalajdzievski, arXiv 2312.03732. LoRA+: Hayou et al., arXiv
2402.12354. A frozen A: Zhu et al., "Asymmetry in Low-Rank Adapters of Foundation Models", arXiv 2402.16842.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from ...kernels.lora_linear import lora_linear
from ...kernels.products import Weight
from .adapter import InitializedAdapter, Layout
from .adapter_names import KEEPING_INITS
from .rounded_factors import RoundedFactors

if TYPE_CHECKING:
    from ..model.linear import Linear, LowRank
    from .adapter_settings import AdapterSettings
    from .initialization import Factors


class LoRA(InitializedAdapter):
    """``B A`` of rank ``rank`` over a linear layer of ``shape`` (N, K), in float32.

    Scaled by alpha / rank, or by alpha / sqrt(rank) if ``rank_stabilized`` (rsLoRA). A is initialized
    uniformly in +-1/sqrt(K), as in PEFT, from ``generator``. B is initialized to zero, so training starts at
    the base. ``b_rate``: the learning rate of B divided by that of A (LoRA+).
    ``freeze_a``: train only B.
    """

    layout: ClassVar[Layout] = "peft"
    initial_a: Tensor | None
    initial_b: Tensor | None

    def __init__(
        self,
        shape: tuple[int, int],
        *,
        rank: int,
        alpha: float,
        dropout: float = 0.0,
        rank_stabilized: bool = False,
        b_rate: float = 1.0,
        freeze_a: bool = False,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        rows, columns = shape
        bound = 1 / math.sqrt(columns)
        self.a = nn.Parameter(torch.empty(rank, columns).uniform_(-bound, bound, generator=generator))
        self.b = nn.Parameter(torch.zeros(rows, rank))
        self.a.requires_grad_(not freeze_a)
        self.scale = alpha / math.sqrt(rank) if rank_stabilized else alpha / rank
        self.dropout, self.b_rate = dropout, b_rate
        self.rounded = RoundedFactors()
        self.initial = None
        #: A and B of each change that was merged into the base, on the host: only saving needs them.
        self.links: list[tuple[Tensor, Tensor]] = []

    @property
    def initial(self) -> tuple[Tensor, Tensor] | None:
        """A0 and B0 if the base is the original one without ``s B0 A0``; otherwise None."""
        if self.links:
            a, b = (list(each) for each in zip(*self.links))
            return torch.cat(a).to(self.a.device), -torch.cat(b, dim=1).to(self.a.device)
        return None if self.initial_a is None or self.initial_b is None else (self.initial_a, self.initial_b)

    @initial.setter
    def initial(self, factors: tuple[Tensor, Tensor] | None) -> None:
        a, b = (None, None) if factors is None else factors
        self.register_buffer("initial_a", a, persistent=False)  # so that they move with the adapter
        self.register_buffer("initial_b", b, persistent=False)

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        """Make a new adapter over ``linear``, of ``rank``, with the scale from ``settings``."""
        fresh = cls(
            linear.shape,
            rank=rank,
            alpha=settings.alpha_of(rank),
            dropout=settings.dropout,
            rank_stabilized=settings.rank_stabilized,
            b_rate=settings.b_rate,
            freeze_a=settings.freeze_a,
            generator=generator,
        )
        return fresh.to(linear.device)

    @classmethod
    def count(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        return settings.rank * (shape[0] if settings.freeze_a else sum(shape))

    @classmethod
    def frozen(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """A frozen A, also rounded if it is fused, and initial factors: one in float32 is two in bf16."""
        frozen = (2 + settings.low_rank) * shape[1] if settings.freeze_a else 0
        return settings.rank * (frozen + (2 * sum(shape) if settings.init in KEEPING_INITS else 0))

    def begin(self, factors: Factors, weight: Tensor) -> None:
        with torch.no_grad():
            self.a.copy_(factors.a)
            self.b.copy_(factors.b)
        self.initial = (self.a.detach().clone(), self.b.detach().clone()) if factors.changed else None

    def measure(self, weight: Tensor) -> None:
        """Compute what the method needs from the base's ``weight`` (N, K); nothing for LoRA."""

    def forward(self, x: Tensor, weight: Callable[[], Weight], bias: Tensor | None) -> Tensor:
        rounded = self.rounded.of(self.a, self.b, self.scale, x.dtype)
        return lora_linear(x, weight, bias, self.a, self.b, self.scale, self._dropped(x), rounded)

    def low_rank(self, dtype: torch.dtype) -> LowRank | None:
        """Return A, B, their scale and both in ``dtype``, or None with dropout, which changes the input."""
        if self.dropout and self.training:
            return None
        return self.a, self.b, self.scale, self.rounded.of(self.a, self.b, self.scale, dtype)

    def _dropped(self, x: Tensor) -> Tensor | None:
        return dropout(x, self.dropout) if self.dropout and self.training else None

    def merged(self, weight: Tensor) -> Tensor:
        """Return ``weight`` (N, K), float32, with the adapter merged into it."""
        return torch.addmm(weight, self.b.detach(), self.a.detach(), alpha=self.scale)

    def rates(self) -> dict[str, float]:
        """Return multiples of the learning rate, for the parameters that have their own."""
        return {"b": self.b_rate}

    def state(self, over: Literal["original", "held"] = "original") -> dict[str, Tensor]:
        """Return the factors A (rank, K) and B (N, rank), by PEFT's names.

        If the initial factors A0, B0 were subtracted from the base, ``B A`` applies to that base ("held").
        For the original base, the state is ``B A - B0 A0`` with the sum of the ranks: A stacked on A0, and B
        next to -B0 (Meng et al., PiSSA, arXiv 2404.02948, appendix).
        """
        a, b = self.a.detach(), self.b.detach()
        if over == "original" and self.initial is not None:
            a, b = torch.cat([a, self.initial[0]]), torch.cat([b, -self.initial[1]], dim=1)
        return {"lora_A.weight": a, "lora_B.weight": b}

    def load(self, state: dict[str, Tensor]) -> None:
        """Load the factors from ``state``, of either form.

        Raises KeyError or RuntimeError if they do not fit.
        """
        a, b = (state[name].to(self.a.device) for name in ("lora_A.weight", "lora_B.weight"))
        rank = len(self.a)
        if self.initial is not None and len(a) == rank + len(self.initial[0]):
            here, theirs = self.initial[1] @ self.initial[0], -b[:, rank:] @ a[rank:]
            if (here - theirs).abs().max() > 1e-4 * here.abs().max():
                raise RuntimeError("its initial factors differ from those of this base and these settings")
            a, b = a[:rank], b[:, :rank]
        with torch.no_grad():
            self.a.copy_(a)
            self.b.copy_(b)
