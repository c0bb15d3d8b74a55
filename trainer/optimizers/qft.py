"""QFT: Li et al., "QFT: Quantized Full-parameter Tuning of LLMs with Affordable Resources".

arXiv 2310.07147.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """Lion with a moment in INT8, one scale for each row; and with weights and gradients in INT8, if they are
    those of an :class:`IntegerWeight`.

    A weight changes by the learning rate, which is less than the distance of two codes. So it is rounded
    stochastically: its mean is what Lion would make of it. The scale of a row stays as it is, which bounds
    the weights of a row by the largest at the start; with a new scale, all weights would be rounded again.
    (The paper's protection of critical features in a higher precision is not made.)
    """

    betas: ClassVar[tuple[float, float]] = (0.9, 0.99)
    state_bytes: ClassVar[float] = 1

    def __init__(self, groups: Sequence[Mapping[str, Any]], **options: Any) -> None:
        #: The weights of integers, by the parameters that stand for them.
        self.weights: dict[Tensor, IntegerWeight] = {}
        super().__init__(groups, **options)

    @classmethod
    def state_size(cls, shape: tuple[int, int], **options: Any) -> float:
        return shape[0] * (shape[1] + 4)

    def prepare(self, model: Decoder) -> None:
        """Find the weights of integers. These are state: a checkpoint holds them."""
        for _, linear in model.linears():
            if isinstance(linear.adapter, IntegerWeight):
                anchor = linear.adapter.anchor
                self.weights[anchor] = linear.adapter
                self.states[anchor] = self.start(anchor)

    def start(self, parameter: Tensor) -> State:
        held = self.weights.get(parameter)
        if held is not None:
            moment, scales = torch.zeros_like(held.codes), torch.zeros_like(held.scales)
            return {"moment": moment, "moment_scales": scales, "codes": held.codes, "scales": held.scales}
        rows = _rows(parameter)
        moment = torch.zeros_like(rows, dtype=torch.int8)
        return {"moment": moment, "moment_scales": torch.zeros(len(rows), device=parameter.device)}

    def clear(self) -> None:
        super().clear()
        for each in self.weights.values():
            each.gradient = None

    def update(
        self, weights: Sequence[Tensor], gradients: Sequence[Tensor], states: Sequence[State], rate: float
    ) -> None:
        for weight, given, state in zip(weights, gradients, states):
            held = self.weights.get(weight)
            gradient = _rows(given.float()) if held is None else _summed(held.gradient)
            moment = int8.dequantize(INT8Tensor(state["moment"], state["moment_scales"]))
            direction = torch.lerp(gradient, moment, self.beta1).sign_()
            rounded = int8.rounded(moment.lerp_(gradient, 1 - self.beta2))
            state["moment"].copy_(rounded.codes)
            state["moment_scales"].copy_(rounded.scales)
            kept = 1 - rate * self.weight_decay
            if held is None:
                weight.mul_(kept).add_(direction.view(weight.shape), alpha=-rate)
            else:
                scales = state["scales"][:, None].clamp(min=torch.finfo(torch.float32).tiny)
                wanted = state["codes"] * kept - direction * (rate / scales)
                noise = torch.rand(wanted.shape, generator=self.generator, device=wanted.device)
                state["codes"].copy_((wanted + noise).floor_().clamp_(-LARGEST, LARGEST))

    def forget(self, parameter: nn.Parameter, kept: Tensor) -> None:
        moment = self.states[parameter]["moment"]
        moment.masked_fill_(~kept.reshape(moment.shape), 0)


def _rows(values: Tensor) -> Tensor:
    """Return a view of ``values`` as a matrix: a vector is one row."""
    return values.reshape(len(values) if values.dim() > 1 else 1, -1)


def _summed(own: INT8Tensor | None) -> Tensor:
    """Return the gradient of all processes, float32 (N, K). A process without packs has none."""
    parts = Processes.current().gather(None if own is None else (own.codes.cpu(), own.scales.cpu()))
    if len(parts) == 1 and own is not None:
        return int8.dequantize(own)
    found = [int8.dequantize(INT8Tensor(*part)) for part in parts if part is not None]
    return torch.stack(found).sum(0).to("cpu" if own is None else own.device)
