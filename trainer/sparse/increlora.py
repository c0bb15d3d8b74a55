"""IncreLoRA: Zhang et al., "IncreLoRA: Incremental Parameter Allocation Method for Parameter-Efficient
Fine-tuning" (arXiv 2308.12043).
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch

from ..adapters.lora import LoRA
from ..model.decoder import Decoder
from ..optimizers.optimizer import Optimizer
from .projection import COUNTS, Projection

if TYPE_CHECKING:
    from .sparse_settings import SparseSettings

#: Decay rates of a layer's importance, and of its uncertainty.
IMPORTANCE, UNCERTAINTY = 0.85, 0.85


class IncreLoRA(Projection):
    """Starts every layer with a low rank; the layers of most importance get one rank more, again and again.

    The adapter's ``rank`` is the most that a layer can have. Each layer starts with ``first`` of them. Every
    ``every`` steps, the ``grow`` layers of the highest score get their next rank, until the layers have
    ``mean`` on average. Ranks in reserve have B = 0 and get no gradient: they are as they were made.

    The importance of a layer is the mean of ``|w dL/dw|`` over its trained factors, smoothed over the steps;
    the score is its product with how much it varies (as in AdaLoRA, arXiv 2303.10512). The authors' is the
    sum of ``|D dL/dD|`` over the product D of the factors, divided by the root of its size; they train a
    scale of each rank, as in a singular value decomposition, and the next rank of each layer in advance.
    """

    over: ClassVar[frozenset[str]] = frozenset({"lora", "rslora"})
    held_bytes: ClassVar[int] = COUNTS

    @classmethod
    def of(cls, settings: SparseSettings, seed: int) -> Self:
        return cls(settings.every, settings.first_rank, settings.mean_rank, settings.grow)

    def __init__(self, every: int, first: int, mean: int, grow: int) -> None:
        self.every, self.first, self.mean, self.grow = every, first, mean, grow
        self.adapters: dict[str, LoRA] = {}
        self.enabled: dict[str, int] = {}
        self.importance: dict[str, float] = {}
        self.uncertainty: dict[str, float] = {}

    def begin(self, model: Decoder) -> None:
        """Enable the first ranks, and those that an earlier training has used.

        Warns if the steps are too few for ``mean`` ranks.
        """
        found = {name: linear.adapter for name, linear in model.linears()}
        self.adapters = {name: each for name, each in found.items() if isinstance(each, LoRA)}
        for name, adapter in self.adapters.items():
            used = adapter.b.detach().any(0).nonzero().flatten().tolist()
            self.enabled[name] = max([min(self.first, len(adapter.a)), *(place + 1 for place in used)])
            self.importance[name] = self.uncertainty[name] = 0.0
        if self.steps and (told := self._unreached()) is not None:
            warnings.warn(told, stacklevel=2)

    def _unreached(self) -> str | None:
        """Return what to tell if the steps are too few for ``mean`` ranks."""
        layers, used = len(self.adapters), sum(self.enabled.values())
        left, times = self.mean * layers - used, (self.steps - 1) // self.every
        given = times * min(self.grow, layers)
        if given >= left:
            return None
        every = (self.steps - 1) // math.ceil(left / min(self.grow, layers))
        grow = math.ceil(left / max(times, 1))
        ways = [f"every: {every}"] if every else []
        ways += [f"grow: {grow}"] if times and grow <= layers else []
        fix = " or ".join(ways) or "more steps, or a smaller mean_rank"
        return (
            f"sparse 'increlora' reaches a mean rank of {(used + given) / layers:.1f} in {self.steps} steps, "
            f"and not mean_rank = {self.mean}: give {fix}"
        )

    @torch.no_grad()
    def before_update(self, step: int, optimizer: Optimizer) -> None:
        """Measure the layers' importance, and drop the gradients of ranks in reserve."""
        for name, adapter in self.adapters.items():
            rank, products, count = self.enabled[name], 0.0, 0
            for parameter, dimension in ((adapter.a, 0), (adapter.b, 1)):
                if parameter.grad is None:
                    continue
                live = parameter.grad.narrow(dimension, 0, rank)
                products += float((parameter.narrow(dimension, 0, rank) * live).abs().sum())
                count += live.numel()
                parameter.grad.narrow(dimension, rank, parameter.shape[dimension] - rank).zero_()
            now, before = products / max(count, 1), self.importance[name]
            self.importance[name] = IMPORTANCE * before + (1 - IMPORTANCE) * now
            apart = abs(now - self.importance[name])
            self.uncertainty[name] = UNCERTAINTY * self.uncertainty[name] + (1 - UNCERTAINTY) * apart

    def after_step(self, step: int, last: bool, optimizer: Optimizer) -> None:
        if last or (step + 1) % self.every:
            return
        left = self.mean * len(self.adapters) - sum(self.enabled.values())
        can_grow = [name for name, adapter in self.adapters.items() if self.enabled[name] < len(adapter.a)]
        best = sorted(can_grow, key=self.score, reverse=True)
        for name in best[: max(0, min(self.grow, left))]:
            self._enable(name, optimizer)

    def _enable(self, name: str, optimizer: Optimizer) -> None:
        """Give a layer its next rank, whose updates count from here."""
        rank, adapter = self.enabled[name], self.adapters[name]
        for parameter, dimension in ((adapter.a, 0), (adapter.b, 1)):
            if parameter in optimizer.states:
                kept = torch.ones_like(parameter, dtype=torch.bool)
                kept.narrow(dimension, rank, 1).fill_(False)
                optimizer.forget(parameter, kept)
        self.enabled[name] += 1

    def score(self, name: str) -> float:
        """Return how much the layer ``name`` needs another rank."""
        return self.importance[name] * self.uncertainty[name]

    def state(self) -> dict[str, Any]:
        return {
            "enabled": self.enabled,
            "importance": self.importance,
            "uncertainty": self.uncertainty,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.enabled, self.importance = dict(state["enabled"]), dict(state["importance"])
        self.uncertainty = dict(state["uncertainty"])
