"""LISA: Pan et al., "LISA: Layerwise Importance Sampling for Memory-Efficient ... Fine-Tuning".

arXiv 2403.17919.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from ...contracts.inference import derive_seed
from .blocks import BlockPolicy, draw

if TYPE_CHECKING:
    from .sparse_settings import SparseSettings


class LISA(BlockPolicy):
    """Trains ``blocks`` blocks, drawn at random, for ``every`` steps; then others.

    The paper trains embeddings and head in every step, whose updates are the largest: that is what
    ``train_embeddings`` and ``train_head`` do.
    """

    @classmethod
    def of(cls, settings: SparseSettings, seed: int) -> Self:
        return cls(settings.blocks, settings.every, seed)

    def chosen(self, interval: int) -> frozenset[int]:
        return draw([1.0] * len(self.blocks), self.count, derive_seed(self.seed, "lisa", interval))
