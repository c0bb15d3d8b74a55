"""OwLore: Li et al., "OwLore: Outlier-weighed Layerwise Sampled Low-Rank Projection".

arXiv 2405.18380. Its outliers are those of OWL: Yin et al., "Outlier Weighed Layerwise Sparsity (OWL)" (arXiv
2310.05175).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from statistics import fmean
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from ...contracts.inference import derive_seed
from ..adapters.layer_statistics import input_squares
from ..model.decoder import Decoder
from ..model.linear import Linear
from ..parallel import Processes
from .blocks import BlockPolicy, draw

if TYPE_CHECKING:
    from .sparse_settings import SparseSettings

#: Number of packs, from the first, on which the inputs of layers are measured.
PACKS = 8
#: Least score of a block in a draw, relative to the mean score, so that each block is trained at times.
LEAST = 0.1


class OwLore(BlockPolicy):
    """Trains ``blocks`` blocks for ``every`` steps; then others, with more outliers more often.

    The score of a block is its share of outliers: weights whose magnitude times the norm of their input, over
    the tokens of the first packs, is more than ``factor`` times the mean of these products in the block. The
    chosen blocks are trained with gradients of low rank (the optimizer ``galore``).
    """

    def __init__(self, count: int, every: int, factor: float, seed: int) -> None:
        super().__init__(count, every, seed)
        self.factor = factor
        self.scores: list[float] = []

    @classmethod
    def of(cls, settings: SparseSettings, seed: int) -> Self:
        return cls(settings.blocks, settings.every, settings.outlier_factor, seed)

    def begin(self, model: Decoder) -> None:
        """Count the outliers of each block of the base."""
        super().begin(model)
        linears = dict(model.linears())
        was_training = model.training
        model.eval()  # without noise on the embeddings
        squares = input_squares(model, linears, list(islice(self.packs, PACKS)))
        model.train(was_training)
        layers: list[list[tuple[Linear, Tensor]]] = [[] for _ in self.blocks]
        for name, linear in linears.items():
            layers[int(name.split(".")[1])].append((linear, squares[name].sqrt()))
        # Processes round differently, but must draw the same blocks.
        self.scores = Processes.current().gather([outlier_share(each, self.factor) for each in layers])[0]

    def state(self) -> dict[str, Any]:
        return {"scores": self.scores}

    def load(self, state: dict[str, Any]) -> None:
        """Draw as before, though another machine may count other outliers."""
        # Checkpoints of earlier versions have no scores.
        self.scores = state.get("scores", self.scores)

    def chosen(self, interval: int) -> frozenset[int]:
        least = LEAST * fmean(self.scores) or 1.0
        weights = [max(score, least) for score in self.scores]
        return draw(weights, self.count, derive_seed(self.seed, "owlore", interval))


@torch.no_grad()
def outlier_share(layers: Sequence[tuple[Linear, Tensor]], factor: float) -> float:
    """Return the share of weights whose product with their input is above ``factor`` times the mean product.

    ``layers``: those of one block, each with the norms (K,) of its inputs.
    """
    weights = sum(math.prod(linear.shape) for linear, _ in layers)
    mean = sum(_products(*each).double().sum().item() for each in layers) / weights
    return sum(int((_products(*each) > factor * mean).sum()) for each in layers) / weights


def _products(linear: Linear, norms: Tensor) -> Tensor:
    return linear.weight().float().abs() * norms
