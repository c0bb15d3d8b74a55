"""LIFT: Liu et al., "LIFT the Veil for the Truth: Principal Weights Emerge after Rank Reduction for
Reasoning-Focused Supervised Fine-Tuning" (ICML 2025, arXiv 2506.00772).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from ...contracts.inference import derive_seed
from ...kernels.top_k import top_k_mask
from ..adapters.decompose import leading
from ..model.decoder import Decoder
from ..model.linear import Linear
from ..optimizers.optimizer import Optimizer
from .masked import Masked, entries_of
from .projection import COUNTS

if TYPE_CHECKING:
    from .sparse_settings import SparseSettings


class LIFT(Masked):
    """Trains the principal weights: the largest entries of the best approximation of rank ``rank``.

    The approximation is that of each weight as it is trained so far. Exactly ``floor(density * N)`` of a
    layer's N entries are trained at a time. They are chosen anew every ``every`` steps: those that leave keep
    their change, and those that stay their moments. ``iterations``: see ``adapters/decompose.py``.
    """

    held_bytes: ClassVar[int] = 1 + COUNTS  # the mask

    @classmethod
    def of(cls, settings: SparseSettings, seed: int) -> Self:
        return cls(settings.density, settings.every, settings.lift_rank, settings.lift_iterations, seed)

    def __init__(self, density: float, every: int, rank: int, iterations: int | None, seed: int) -> None:
        super().__init__()
        self.density, self.every, self.rank = density, every, rank
        self.iterations, self.seed = iterations, seed
        self.linears: dict[str, Linear] = {}

    def begin(self, model: Decoder) -> None:
        super().begin(model)
        self.linears = {name: linear for name, linear in model.linears() if name in self.parameters}

    def before_step(self, step: int, optimizer: Optimizer) -> None:
        """Choose the entries, from nothing but weights, seed and step: a training that resumes does too."""
        if step % self.every == 0:
            for name in self.parameters:
                self.choose(name, self.principal(name, step), optimizer)

    @torch.no_grad()
    def principal(self, name: str, step: int) -> Tensor:
        """Return the mask (N, K) of the principal weights of the layer ``name``."""
        weight = self.linears[name].weight().float() + self.parameters[name]
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "lift", step, name))
        u, s, vt = leading(weight, min(self.rank, *weight.shape), self.iterations, generator)
        return top_k_mask((u * s) @ vt, entries_of(self.density, weight.numel()))
