"""SpIEL: Ansell et al., "Scaling Sparse Fine-Tuning to Large Language Models" (arXiv 2401.16405).

This is SpIEL-AG, which accumulates gradients. SpIEL-MA, which estimates momenta, is not implemented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from ...contracts.inference import derive_seed
from ..model.decoder import Decoder
from ..optimizers.optimizer import Optimizer
from .masked import Masked, entries_of
from .projection import COUNTS

if TYPE_CHECKING:
    from .sparse_settings import SparseSettings


class SpIEL(Masked):
    """Trains exactly ``floor(density * N)`` of the N entries of each layer, and replaces some at intervals.

    The first ones are random. Every ``every`` steps, but not after the last, a share of them is dropped,
    which falls linearly from ``regrow`` to 0: those that changed the least since then. They return to the
    start. As many others are added: those of the largest gradient, summed over the last ``accumulate`` steps.
    """

    # The mask, the changes at the last replacement, summed gradients.
    held_bytes: ClassVar[int] = 1 + 4 + 4 + COUNTS

    @classmethod
    def of(cls, settings: SparseSettings, seed: int) -> Self:
        return cls(settings.density, settings.every, settings.spiel_regrow, settings.spiel_accumulate, seed)

    def __init__(self, density: float, every: int, regrow: float, accumulate: int, seed: int) -> None:
        super().__init__()
        self.density, self.every, self.regrow, self.seed = density, every, regrow, seed
        self.accumulate = min(accumulate, every)
        self.before: dict[str, Tensor] = {}
        self.gradients: dict[str, Tensor] = {}

    def begin(self, model: Decoder) -> None:
        super().begin(model)
        for name, parameter in self.parameters.items():
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "spiel", name))
            order = torch.randperm(parameter.numel(), generator=generator)
            mask = torch.zeros(parameter.numel(), dtype=torch.bool)
            mask[order[: entries_of(self.density, parameter.numel())]] = True
            self.masks[name] = mask.view(parameter.shape).to(parameter.device)
            self.before[name] = parameter.detach().clone()

    def before_step(self, step: int, optimizer: Optimizer) -> None:
        if step == 0:  # moments may have come from an earlier training
            for name, mask in self.masks.items():
                self.choose(name, mask, optimizer)

    def before_update(self, step: int, optimizer: Optimizer) -> None:
        if step % self.every >= self.every - self.accumulate:
            for name, parameter in self.parameters.items():
                if parameter.grad is not None:
                    seen = self.gradients.get(name)
                    self.gradients[name] = parameter.grad.clone() if seen is None else seen + parameter.grad
        super().before_update(step, optimizer)

    @torch.no_grad()
    def after_step(self, step: int, last: bool, optimizer: Optimizer) -> None:
        if last or (step + 1) % self.every:
            return
        share = self.regrow * (1 - (step + 1) / self.steps)
        for name, summed in self.gradients.items():
            self.choose(name, self._replaced(name, share, summed), optimizer)
            self.before[name] = self.parameters[name].detach().clone()
        self.gradients.clear()

    def _replaced(self, name: str, share: float, summed: Tensor) -> Tensor:
        """Reset the least changed entries of the mask, and return it with others in their place."""
        mask, parameter = self.masks[name].flatten(), self.parameters[name]
        active, candidates = mask.nonzero()[:, 0], (~mask).nonzero()[:, 0]
        count = min(int(share * len(active)), len(candidates))
        change = (parameter - self.before[name]).abs().flatten()[active]
        dropped = active[change.argsort(stable=True)[:count]]
        size = summed.abs().flatten()[candidates]
        added = candidates[size.argsort(stable=True, descending=True)[:count]]
        self.reset(name, torch.zeros_like(mask).index_fill_(0, dropped, True).view(parameter.shape))
        return mask.index_fill(0, dropped, False).index_fill_(0, added, True).view(parameter.shape)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "before": self.before, "gradients": self.gradients}

    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        for own, name in ((self.before, "before"), (self.gradients, "gradients")):
            own.clear()
            own.update(
                {layer: tensor.to(self.parameters[layer].device) for layer, tensor in state[name].items()}
            )
