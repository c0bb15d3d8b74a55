"""AdamW: Loshchilov & Hutter, "Decoupled Weight Decay Regularization" (arXiv 1711.05101)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from ...kernels.update_counts import advance, bias_correction, forgotten
from .optimizer import Optimizer, State

EPSILON = 1e-8
#: Number of values for which temporary tensors exist at once, where entries have counts of their own.
PART = 1 << 20


class AdamW(Optimizer):
    """AdamW with float32 moments, in torch's fused kernel.

    m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w = (1 - lr d) w - lr m' / (sqrt(v') + eps), with m' = m /
    (1 - b1^t) and v' = v / (1 - b2^t). Entries that were forgotten have a t of their own: see
    ``kernels/update_counts.py``.
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
        together = [place for place, state in enumerate(states) if not state["step"].dim()]
        if together:
            shared = ([given[place] for place in together] for given in (weights, gradients, states))
            self._fused(*shared, rate)  # type: ignore[arg-type, call-arg]
        for weight, gradient, state in zip(weights, gradients, states):
            if state["step"].dim():
                self._by_entry(weight, gradient, state, rate)

    def _fused(
        self, weights: list[Tensor], gradients: list[Tensor], states: list[State], rate: float
    ) -> None:
        adamw(
            weights,
            gradients,
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

    def _by_entry(self, weight: Tensor, gradient: Tensor, state: State, rate: float) -> None:
        rows = max(1, PART * len(weight) // weight.numel())
        own = (weight, gradient, state["first"], state["second"], state["step"])
        for start in range(0, len(weight), rows):
            w, g, first, second, counts = (each[start : start + rows] for each in own)
            advance(counts)
            first.lerp_(g, 1 - self.beta1)
            second.mul_(self.beta2).addcmul_(g, g, value=1 - self.beta2)
            size = (second / bias_correction(self.beta2, counts)).sqrt_().add_(EPSILON)
            w.mul_(1 - rate * self.weight_decay)
            w.addcdiv_(first / bias_correction(self.beta1, counts), size, value=-rate)

    def forget(self, parameter: nn.Parameter, kept: Tensor) -> None:
        state = self.states[parameter]
        for name in ("first", "second"):
            state[name].masked_fill_(~kept, 0.0)
        state["step"] = forgotten(state["step"], state["second"] > 0)
