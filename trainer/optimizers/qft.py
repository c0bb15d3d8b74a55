"""QFT: Li et al., "QFT: Quantized Full-parameter Tuning of LLMs with Affordable Resources".

arXiv 2310.07147.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from ...kernels import int8
from ...kernels.int8 import LARGEST, INT8Tensor
from ..adapters.qft import IntegerWeight
from ..parallel import Processes
from .optimizer import Optimizer, State

if TYPE_CHECKING:
    from ..model.decoder import Decoder


class QFT(Optimizer):
    """Lion whose weights, gradients and moment are all INT8, for :class:`IntegerWeight`.

    A weight changes by the learning rate, which is less than the distance of two codes. So it is rounded
    stochastically: its mean is what Lion would make of it. The scale of a row stays as it is, which bounds
    the weights of a row by the largest at the start; with a new scale, all weights would be rounded again.
    (The paper's protection of critical features in a higher precision is not made.)
    """

    betas: ClassVar[tuple[float, float]] = (0.9, 0.99)
    state_bytes: ClassVar[float] = 0  # those of the integers are counted with the adapter

    def prepare(self, model: Decoder) -> None:
        """Find the weights of the anchors. Their integers are state: a checkpoint holds them."""
        self.weights: dict[Tensor, IntegerWeight] = {}
        for _, linear in model.linears():
            each = linear.adapter
            if isinstance(each, IntegerWeight):
                self.weights[each.anchor] = each
                self.states[each.anchor] = {
                    "codes": each.codes,
                    "scales": each.scales,
                    "first": torch.zeros_like(each.codes),
                    "first_scales": torch.zeros_like(each.scales),
                }

    def start(self, parameter: Tensor) -> State:
        return {}

    def clear(self) -> None:
        super().clear()
        for each in self.weights.values():
            each.gradient = None

    def update(
        self, weights: Sequence[Tensor], gradients: Sequence[Tensor], states: Sequence[State], rate: float
    ) -> None:
        """Update the integers of the anchors ``weights``, which stay as they are."""
        for anchor, state in zip(weights, states):
            gradient = _summed(self.weights[anchor].gradient)
            first = int8.dequantize(INT8Tensor(state["first"], state["first_scales"]))
            direction = torch.lerp(gradient, first, self.beta1).sign_()
            moment = int8.rounded(first.lerp_(gradient, 1 - self.beta2))
            state["first"].copy_(moment.codes)
            state["first_scales"].copy_(moment.scales)
            scales = state["scales"][:, None].clamp(min=torch.finfo(torch.float32).tiny)
            wanted = state["codes"] * (1 - rate * self.weight_decay) - direction * (rate / scales)
            noise = torch.rand(wanted.shape, generator=self.generator, device=wanted.device)
            state["codes"].copy_((wanted + noise).floor_().clamp_(-LARGEST, LARGEST))

    def load(self, state: dict[str, Any]) -> None:
        for parameter, saved in zip(self.parameters, state["states"], strict=True):
            for name, tensor in self.states[parameter].items():
                tensor.copy_(saved[name])
        self.generator.set_state(state["generator"])

    def forget(self, parameter: nn.Parameter, kept: Tensor) -> None:
        """Do nothing: no policy chooses among the weights."""


def _summed(own: INT8Tensor | None) -> Tensor:
    """Return the gradient of all processes, float32 (N, K). A process without packs has none."""
    parts = Processes.current().gather(None if own is None else (own.codes.cpu(), own.scales.cpu()))
    if len(parts) == 1 and own is not None:
        return int8.dequantize(own)
    found = [int8.dequantize(INT8Tensor(*part)) for part in parts if part is not None]
    return torch.stack(found).sum(0).to("cpu" if own is None else own.device)
