"""KaSA: Wang et al., "KaSA: Knowledge-Aware Singular-Value Adaptation of Large Language Models".

ICLR 2025, arXiv 2412.06071.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from ...kernels.lora_linear import lora_linear
from ...kernels.products import Weight
from ..model.weight_formats import Base, dense
from .initialization import Factors, Hold, Initialization
from .lora import LoRA

if TYPE_CHECKING:
    from ..model.linear import Linear
    from .adapter_settings import AdapterSettings


class KaSA(LoRA):
    """Adds ``s B diag(values) A``, with ``values`` (rank,) trained too: singular values of the change.

    Two terms of the loss, summed over the layers, make it a singular value decomposition: the squared
    singular values, times ``singular``, and the distance of ``B^T B`` and ``A A^T`` from the identity, times
    ``orthogonal``. It is saved as LoRA, with the singular values in A.
    """

    def __init__(self, shape: tuple[int, int], *, generator: torch.Generator, **settings: Any) -> None:
        super().__init__(shape, generator=generator, **settings)
        self.values = nn.Parameter(torch.randn(len(self.a), generator=generator))
        self.singular = self.orthogonal = 0.0

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        adapter = super().over(linear, settings, rank, generator)
        adapter.singular, adapter.orthogonal = settings.kasa_singular, settings.kasa_orthogonal
        return adapter

    @classmethod
    def count(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        return super().count(settings, shape) + settings.rank

    def begin(self, factors: Factors, weight: Tensor) -> None:
        """Note what was taken out of the base. The factors of the adapter stay new."""
        self.initial = (factors.a.to(self.a), factors.b.to(self.b))

    def _scaled_a(self) -> Tensor:
        return self.values[:, None] * self.a

    def forward(self, x: Tensor, weight: Callable[[], Weight], bias: Tensor | None) -> Tensor:
        return lora_linear(x, weight, bias, self._scaled_a(), self.b, self.scale, self._dropped(x))

    def low_rank(self, dtype: torch.dtype) -> None:
        """Return None: the singular values are more than two factors."""

    def merged(self, weight: Tensor) -> Tensor:
        return torch.addmm(weight, self.b.detach(), self._scaled_a().detach(), alpha=self.scale)

    def penalty(self) -> Tensor:
        identity = torch.eye(len(self.a), dtype=self.a.dtype, device=self.a.device)
        apart = (self.b.T @ self.b - identity).norm() + (self.a @ self.a.T - identity).norm()
        penalty: Tensor = self.singular * self.values.square().sum() + self.orthogonal * apart
        return penalty

    def state(self, over: Literal["original", "held"] = "original") -> dict[str, Tensor]:
        """Return the factors, the singular values in A, and next to them what was taken out of the base."""
        a, b = self._scaled_a().detach(), self.b.detach()
        if over == "original" and self.initial is not None:
            a, b = torch.cat([a, self.initial[0]]), torch.cat([b, -self.initial[1]], dim=1)
        return {"lora_A.weight": a, "lora_B.weight": b}

    def load(self, state: dict[str, Tensor]) -> None:
        """Load the product. The singular values become the powers of two above the norms of A's rows.

        So the product is what was saved to the bit, which norms would round.
        """
        super().load(state)
        with torch.no_grad():
            powers = torch.frexp(self.a.norm(dim=1)).exponent
            self.values.copy_(torch.ldexp(torch.ones_like(self.values), powers))
            self.a.div_(self.values[:, None])


class Truncated(Initialization):
    """Takes the components with the r smallest singular values out of the base, as noise.

    Training starts from the truncated model, not from the original one.
    """

    changes_base: ClassVar[bool] = True

    def change(self, name: str, weight: Base, hold: Hold) -> Base:
        full, scale = dense(weight, torch.float32), self.settings.scale
        rank = self.rank(name, weight)
        u, s, vt = torch.linalg.svd(full, full_matrices=False)
        roots = (s[-rank:] / scale).sqrt()
        a, b = roots[:, None] * vt[-rank:], u[:, -rank:] * roots
        self.found[name] = Factors(a, b, changed=True)
        return hold(full.addmm(b, a, alpha=-scale))
