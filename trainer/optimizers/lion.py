"""Lion: Chen et al., "Symbolic Discovery of Optimization Algorithms" (arXiv 2302.06675)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from .optimizer import Optimizer, State


class Lion(Optimizer):
    """Lion with one float32 moment.

    w = (1 - lr d) w - lr sign(b1 m + (1 - b1) g); then m = b2 m + (1 - b2) g. Every weight changes by the
    learning rate, so learning rates are 3 to 10 times smaller than AdamW's.
    """

    betas: ClassVar[tuple[float, float]] = (0.9, 0.99)
    state_bytes: ClassVar[float] = 4

    def start(self, parameter: Tensor) -> State:
        wide = torch.promote_types(parameter.dtype, torch.float32)
        return {"first": torch.zeros_like(parameter, dtype=wide)}

    def update(
        self, weights: Sequence[Tensor], gradients: Sequence[Tensor], states: Sequence[State], rate: float
    ) -> None:
        for weight, gradient, state in zip(weights, gradients, states):
            moment = state["first"]
            direction = torch.lerp(gradient, moment, self.beta1).sign_()
            weight.mul_(1 - rate * self.weight_decay).add_(direction, alpha=-rate)
            moment.lerp_(gradient, 1 - self.beta2)

    def forget(self, parameter: nn.Parameter, kept: Tensor) -> None:
        self.states[parameter]["first"].masked_fill_(~kept, 0.0)
