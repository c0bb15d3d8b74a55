"""DyLoRA: Valipour et al., "DyLoRA: Parameter-Efficient Tuning of Pre-trained Models using Dynamic
Search-Free Low-Rank Adaptation" (EACL 2023, arXiv 2210.07558).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from torch import Tensor

from ...contracts.inference import derive_seed
from ...kernels.lora_linear import lora_linear
from ...kernels.products import Weight
from .lora import LoRA

if TYPE_CHECKING:
    from ..model.linear import Linear
    from .adapter_settings import AdapterSettings


class DyLoRA(LoRA):
    """LoRA whose factors are truncated, in each step, to a rank b drawn from 1 to ``rank``.

    The first b rows of A and columns of B are used, scaled by alpha / b, in all layers alike. So the first
    directions learn the most, and any rank can be kept after training: ``keep`` of them are what is saved,
    merged and evaluated.
    """

    def __init__(self, shape: tuple[int, int], *, keep: int | None = None, **settings: Any) -> None:
        super().__init__(shape, **settings)
        self.alpha = self.scale * len(self.a)
        self.drawn = len(self.a)
        self._keep(len(self.a) if keep is None else keep)

    def _keep(self, rank: int) -> None:
        self.keep, self.scale = rank, self.alpha / rank

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        adapter = super().over(linear, settings, rank, generator)
        adapter._keep(settings.dylora_keep or rank)
        return adapter

    def begin_step(self, seed: int) -> None:
        self.drawn = random.Random(derive_seed(seed, "dylora")).randint(1, len(self.a))

    def forward(self, x: Tensor, weight: Callable[[], Weight], bias: Tensor | None) -> Tensor:
        rank = self.drawn if self.training else self.keep
        a, b = self.a[:rank], self.b[:, :rank]
        return lora_linear(x, weight, bias, a, b, self.alpha / rank, self._dropped(x))

    def low_rank(self, dtype: torch.dtype) -> None:
        """Return None: the rank differs from step to step."""

    def merged(self, weight: Tensor) -> Tensor:
        a, b = self.a.detach()[: self.keep], self.b.detach()[:, : self.keep]
        return torch.addmm(weight, b, a, alpha=self.scale)

    def state(self, over: Literal["original", "held"] = "original") -> dict[str, Tensor]:
        """Return the first ``keep`` ranks."""
        a, b = self.a.detach()[: self.keep], self.b.detach()[:, : self.keep]
        return {"lora_A.weight": a, "lora_B.weight": b}

    def load(self, state: dict[str, Tensor]) -> None:
        """Load the first ranks from ``state``; the others stay as they are."""
        a, b = state["lora_A.weight"], state["lora_B.weight"]
        with torch.no_grad():
            self.a[: len(a)].copy_(a)
            self.b[:, : b.shape[1]].copy_(b)
