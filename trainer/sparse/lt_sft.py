"""LT-SFT: Ansell et al., "Composable Sparse Fine-Tuning for Cross-Lingual Transfer".

ACL 2022, arXiv 2110.07560.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

import torch

from ...contracts.errors import DataError
from ..model.decoder import Decoder
from ..optimizers.optimizer import Optimizer
from .masked import Masked
from .selekt import largest

if TYPE_CHECKING:
    from .sparse_settings import SparseSettings


class LotteryTicket(Masked):
    """Trains densely first, then again from the start, but only the entries that changed the most.

    The first phase has the share ``dense`` of the steps. Then exactly ``floor(density * N)`` of the N entries
    are chosen, over all layers or of each (``scope``), all are reset, with their moments, and only the chosen
    ones are trained. Each phase has the whole schedule of the learning rate, with its warm-up. Students of
    several trainings compose by a merge, as sums of their changes.
    """

    held_bytes: ClassVar[int] = 1  # the mask

    @classmethod
    def of(cls, settings: SparseSettings, seed: int) -> Self:
        return cls(settings.density, settings.scope, settings.lt_sft_dense)

    def __init__(self, density: float, scope: Literal["global", "tensor"], dense: float) -> None:
        super().__init__()
        self.density, self.scope, self.dense = density, scope, dense

    @property
    def dense_steps(self) -> int:
        """Number of steps of the first phase. Each phase has one at least."""
        return min(max(1, round(self.dense * self.steps)), self.steps - 1)

    def phases(self) -> list[int]:
        return [self.dense_steps, self.steps - self.dense_steps]

    def begin(self, model: Decoder) -> None:
        super().begin(model)
        if self.steps < 2:
            raise DataError(
                f"sparse 'lt_sft' has two phases, but this training has {self.steps} optimizer step: give "
                "more rows or epochs, or a smaller batch_tokens"
            )

    def before_step(self, step: int, optimizer: Optimizer) -> None:
        if step == 0:  # moments may have come from an earlier training, which trained a few entries only
            for parameter in self.parameters.values():
                optimizer.restart(parameter)

    @torch.no_grad()
    def after_step(self, step: int, last: bool, optimizer: Optimizer) -> None:
        if step + 1 != self.dense_steps:
            return
        for name, before in self.start.items():
            self.parameters[name].sub_(before)
        masks = list(largest(list(self.parameters.values()), self.density, self.scope))
        for (name, parameter), mask in zip(self.parameters.items(), masks):
            self.masks[name] = mask
            optimizer.restart(parameter)
            self.reset(name)
