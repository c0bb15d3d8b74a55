"""AdamW: Loshchilov & Hutter, "Decoupled Weight Decay Regularization" (arXiv 1711.05101)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from .optimizer import Optimizer, State

EPSILON = 1e-8


class AdamW(Optimizer):
    """AdamW with float32 moments, in torch's fused kernel.

    m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w = (1 - lr d) w - lr m' / (sqrt(v') + eps), with m' = m /
    (1 - b1^t) and v' = v / (1 - b2^t).
    """

    state_bytes: ClassVar[float] = 8

    def start(self, parameter: Tensor) -> State:
        wide = torch.promote_types(parameter.dtype, torch.float32)
        return {
            "step": torch.zeros((), device=parameter.device),
            "first": torch.zeros_like(parameter, dtype=wide),
            "second": torch.zeros_like(parameter, dtype=wide),
        }

    def update(
        self, weights: Sequence[Tensor], gradients: Sequence[Tensor], states: Sequence[State], rate: float
    ) -> None:
        adamw(
            list(weights),
            list(gradients),
            [state["first"] for state in states],
            [state["second"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=self.beta1,
            beta2=self.beta2,
            lr=rate,
            weight_decay=self.weight_decay,
            eps=EPSILON,
            maximize=False,
        )

    def forget(self, parameter: nn.Parameter, kept: Tensor) -> None:
        state = self.states[parameter]
        for name in ("first", "second"):
            state[name].masked_fill_(~kept, 0.0)
