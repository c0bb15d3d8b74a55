"""IST: Yao et al., "Layer-wise Importance Matters: Less Memory for Better Performance in PEFT of LLMs".

EMNLP 2024 Findings, arXiv 2410.11772: importance-aware sparse tuning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch

from ...contracts.inference import derive_seed
from ..adapters.lora import LoRA
from ..model.decoder import Decoder
from .blocks import BlockPolicy, draw, train_only

if TYPE_CHECKING:
    from ..optimizers.optimizer import Optimizer
    from .sparse_settings import SparseSettings


class IST(BlockPolicy):
    """Trains the adapters of ``blocks`` blocks in each step, drawn by the importance of the blocks.

    The importance is learned from losses: every ``every`` steps, ``trials`` times, the response of all
    adapters but those of ``blocks`` drawn blocks is multiplied by ``damping``. The reward is exp(-loss) of
    the step's rows, and the importance of the drawn blocks rises by ``learning`` times the difference of the
    reward to the mean of all trials. Blocks are drawn in proportion to the exponential of their importance.
    Moments are kept while a block is frozen.
    """

    over: ClassVar[frozenset[str]] = frozenset({"lora", "rslora", "dora"})
    lazy: ClassVar[bool] = False

    def __init__(
        self, count: int, every: int, trials: int, damping: float, learning: float, seed: int
    ) -> None:
        super().__init__(count, every, seed)
        self.trials, self.damping, self.learning = trials, damping, learning
        self.importance: list[float] = []
        self._adapters: list[list[LoRA]] = []

    @classmethod
    def of(cls, settings: SparseSettings, seed: int) -> Self:
        return cls(
            settings.blocks,
            settings.every,
            settings.ist_trials,
            settings.ist_damping,
            settings.ist_rate,
            seed,
        )

    @classmethod
    def resting(cls, settings: SparseSettings, blocks: int) -> float:
        return 0.0  # the moments of all blocks are held

    def begin(self, model: Decoder) -> None:
        super().begin(model)
        self.importance = [0.0] * len(self.blocks)
        self._adapters = [[] for _ in self.blocks]
        for name, linear in model.linears():
            if isinstance(linear.adapter, LoRA):
                self._adapters[int(name.split(".")[1])].append(linear.adapter)

    def measure(self, step: int, loss: Callable[[], float]) -> None:
        if step % self.every:
            return
        kept, rewards = [], []
        for trial in range(self.trials):
            kept.append(self._drawn("trial", step, trial))
            with self._damped(kept[-1]):
                rewards.append(math.exp(-loss()))
        mean = sum(rewards) / self.trials
        for blocks, reward in zip(kept, rewards):
            for number in blocks:
                self.importance[number] += self.learning * (reward - mean)

    def before_step(self, step: int, optimizer: Optimizer) -> None:
        train_only(self.blocks, self.chosen(step))

    def chosen(self, interval: int) -> frozenset[int]:
        """Return the blocks that are trained in a step, by the importance that they have now."""
        return self._drawn("step", interval)

    def _drawn(self, *purpose: Any) -> frozenset[int]:
        highest = max(self.importance)
        weights = [math.exp(each - highest) for each in self.importance]
        return draw(weights, self.count, derive_seed(self.seed, "ist", *purpose))

    @contextmanager
    def _damped(self, kept: Collection[int]) -> Iterator[None]:
        """Damp the response of the adapters of all other blocks."""
        others = [
            adapter.b
            for number, adapters in enumerate(self._adapters)
            if number not in kept
            for adapter in adapters
        ]
        before = [b.detach().clone() for b in others]
        with torch.no_grad():
            for b in others:
                b.mul_(self.damping)
        try:
            yield
        finally:
            with torch.no_grad():
                for b, whole in zip(others, before):
                    b.copy_(whole)

    def state(self) -> dict[str, Any]:
        return {"importance": list(self.importance)}

    def load(self, state: dict[str, Any]) -> None:
        self.importance = list(state["importance"])
