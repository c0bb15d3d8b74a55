"""Policies that train some blocks of the model at a time, and freeze the others."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from ...contracts.errors import ModelError
from ..model.decoder import Decoder
from .projection import Projection

if TYPE_CHECKING:
    from ..optimizers.optimizer import Optimizer
    from .sparse_settings import SparseSettings


class BlockPolicy(Projection):
    """Trains ``count`` blocks for ``every`` steps, then others.

    What is outside the blocks (embeddings, final norm, head) is trained in every step, where it is trained at
    all. The moments of a block that is newly chosen start anew, and a frozen block has none.
    """

    lazy: ClassVar[bool] = True

    def __init__(self, count: int, every: int, seed: int) -> None:
        self.count, self.every, self.seed = count, every, seed
        self.blocks: list[list[nn.Parameter]] = []

    @classmethod
    def resting(cls, settings: SparseSettings, blocks: int) -> float:
        return max(0.0, 1 - settings.blocks / blocks)

    def begin(self, model: Decoder) -> None:
        """Note the parameters of each block. Raises ModelError for more blocks than the model has."""
        self.blocks = [
            [each for each in block.parameters() if each.requires_grad] for block in model.blocks()
        ]
        if self.count > len(self.blocks):
            raise ModelError(
                f"sparse: blocks = {self.count}, but the model has {len(self.blocks)}: give at most as many"
            )

    @abstractmethod
    def chosen(self, interval: int) -> frozenset[int]:
        """Return the blocks that are trained in an interval. Must return the same each time."""

    def before_step(self, step: int, optimizer: Optimizer) -> None:
        chosen = self.chosen(step // self.every)
        train_only(self.blocks, chosen)
        for number, block in enumerate(self.blocks):
            for parameter in block if number not in chosen else ():
                optimizer.rest(parameter)

    def after_step(self, step: int, last: bool, optimizer: Optimizer) -> None:
        if last:
            train_only(self.blocks, range(len(self.blocks)))


def train_only(blocks: Sequence[Sequence[nn.Parameter]], chosen: Collection[int]) -> None:
    """Freeze the parameters of all blocks but the chosen ones."""
    for number, block in enumerate(blocks):
        for parameter in block:
            parameter.requires_grad_(number in chosen)


def draw(weights: Sequence[float], count: int, seed: int) -> frozenset[int]:
    """Draw ``count`` places without replacement, each with a probability in proportion to its weight.

    Each waits for a time of its own, exponentially distributed with its weight as rate, and the first are
    taken (Efraimidis & Spirakis, 2006). Places of weight 0 are taken, all alike, if no others are left.
    """
    drawn = random.Random(seed)
    times = [drawn.expovariate(1.0) / (weight or 1e-200) for weight in weights]
    return frozenset(sorted(range(len(weights)), key=times.__getitem__)[:count])
