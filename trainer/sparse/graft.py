"""Skill localization: Panigrahi, Saunshi, Zhao, Arora, "Task-Specific Skill Localization in Fine-tuned
Language Models" (ICML 2023, arXiv 2302.06600).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from ...contracts.errors import ModelError
from ...kernels.top_k import Threshold, mask_above, streamed_threshold
from ..model.decoder import Decoder
from ..optimizers.optimizer import Optimizer
from .masked import entries_of
from .projection import Projection, deltas

if TYPE_CHECKING:
    from .sparse_settings import SparseSettings

#: Logit of the mask at the start: of the entries of the first patch, and with the other sign of all others.
START = 4.0


class Graft(Projection):
    """Trains a mask over the changes that an earlier training made, and no change itself.

    The model is the base plus ``sigmoid(logits) * change``. At first, the mask is that of the largest changes
    of all layers. In the end, exactly ``floor(density * n)`` of all n entries keep their change: those of the
    largest logits. Each step descends along the gradient of the logits, of which the largest moves by
    ``rate``. (The paper descends by plain gradients at a rate found for each task.)
    """

    #: The changes, and the logits.
    held_bytes: ClassVar[int] = 8

    @classmethod
    def of(cls, settings: SparseSettings, seed: int) -> Self:
        return cls(settings.density, settings.graft_rate)

    def __init__(self, density: float, rate: float) -> None:
        self.density, self.rate = density, rate
        self.parameters: dict[str, nn.Parameter] = {}
        self.changes: dict[str, Tensor] = {}
        self.logits: dict[str, Tensor] = {}

    def begin(self, model: Decoder) -> None:
        """Raises ModelError if no earlier training changed a weight."""
        self.parameters = deltas(model)
        self.changes = {name: each.detach().clone() for name, each in self.parameters.items()}
        if not any(bool(each.any()) for each in self.changes.values()):
            raise ModelError(
                "sparse 'graft' chooses among the changes of an earlier training, and there are none: give a "
                "student with an adapter of kind delta as the model"
            )
        self.logits = {
            name: torch.where(patch, START, -START) for name, patch in self.largest(self.changes).items()
        }

    def largest(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the mask of exactly ``floor(density * n)`` entries of the largest magnitudes."""
        count = entries_of(self.density, sum(each.numel() for each in values.values()))
        found, masks = streamed_threshold(lambda: iter(values.values()), count), {}
        left = found.ties
        for name, each in values.items():
            masks[name] = mask_above(each, Threshold(found.magnitude, left))
            left = max(0, left - int((each.abs() == found.magnitude).sum()))
        return masks

    def before_step(self, step: int, optimizer: Optimizer) -> None:
        self._mask()

    @torch.no_grad()
    def _mask(self) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(self.logits[name].sigmoid() * self.changes[name])

    @torch.no_grad()
    def before_update(self, step: int, optimizer: Optimizer) -> None:
        """Descend along the gradient of the logits."""
        slopes = dict(self._slopes())
        largest = max((each.abs().max().item() for each in slopes.values()), default=0.0)
        for name, slope in slopes.items():
            if largest > 0:
                self.logits[name].sub_(slope, alpha=self.rate / largest)

    def _slopes(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self.parameters.items():
            if parameter.grad is not None:
                share = self.logits[name].sigmoid()
                yield name, parameter.grad * self.changes[name] * share * (1 - share)

    @torch.no_grad()
    def after_step(self, step: int, last: bool, optimizer: Optimizer) -> None:
        """Mask the changes again: the optimizer has changed them."""
        if not last:
            self._mask()
            return
        # Of the logits, which have signs, the largest: they are shifted above zero.
        lowest = min(each.min().item() for each in self.logits.values()) - 1.0
        shifted = {name: each - lowest for name, each in self.logits.items()}
        for name, mask in self.largest(shifted).items():
            self.parameters[name].copy_(torch.where(mask, self.changes[name], 0.0))

    def state(self) -> dict[str, Any]:
        return {"logits": self.logits}

    def load(self, state: dict[str, Any]) -> None:
        self.logits = {name: each.to(self.parameters[name].device) for name, each in state["logits"].items()}
