"""OwLore: Li et al., "OwLore: Outlier-weighed Layerwise Sampled Low-Rank Projection".

arXiv 2405.18380.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch

from ...contracts.inference import derive_seed
from ..model.decoder import Decoder
from .blocks import BlockPolicy, draw

if TYPE_CHECKING:
    from .sparse_settings import SparseSettings


class OwLore(BlockPolicy):
    """Trains ``blocks`` blocks for ``every`` steps; then others, with more outliers more often.

    The score of a block is the share of its weights whose magnitude is more than ``factor`` times the mean
    magnitude of their matrix. The chosen blocks are trained with gradients of low rank (the optimizer
    ``galore``).
    """

    def __init__(self, count: int, every: int, factor: float, seed: int) -> None:
        super().__init__(count, every, seed)
        self.factor = factor
        self.scores: list[float] = []

    @classmethod
    def of(cls, settings: SparseSettings, seed: int) -> Self:
        return cls(settings.blocks, settings.every, settings.outlier_factor, seed)

    @torch.no_grad()
    def begin(self, model: Decoder) -> None:
        """Count the outliers of each block of the base."""
        super().begin(model)
        found = [[0, 0] for _ in self.blocks]
        for name, linear in model.linears():
            sizes = linear.weight().float().abs()
            block = found[int(name.split(".")[1])]
            block[0] += int((sizes > self.factor * sizes.mean()).sum())
            block[1] += sizes.numel()
        self.scores = [outliers / weights for outliers, weights in found]

    def chosen(self, interval: int) -> frozenset[int]:
        return draw(self.scores, self.count, derive_seed(self.seed, "owlore", interval))
