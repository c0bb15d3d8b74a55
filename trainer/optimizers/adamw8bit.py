"""AdamW with 8-bit moments in blocks of 256 (Dettmers et al., arXiv 2110.02861).

See ``kernels/adamw8bit.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...kernels import blockwise
from ...kernels.adamw8bit import Moments, adamw8bit_steps, quantize_second
from ...kernels.update_counts import advance, forgotten
from .adamw import EPSILON
from .optimizer import Optimizer, State


class AdamW8bit(Optimizer):
    """AdamW with a quarter of the state: two bytes per weight and two float32 scales per block."""

    state_bytes: ClassVar[float] = 2 + 8 / blockwise.BLOCK

    def start(self, parameter: Tensor) -> State:
        moments = Moments.zeros(parameter)
        return {
            "step": torch.zeros((), dtype=torch.int64),
            "first": moments.first,
            "first_absmax": moments.first_absmax,
            "second": moments.second,
            "second_absmax": moments.second_absmax,
        }

    def update(
        self, weights: Sequence[Tensor], gradients: Sequence[Tensor], states: Sequence[State], rate: float
    ) -> None:
        together: dict[int, list[int]] = {}  # usually of one number
        apart: list[tuple[Tensor, list[int]]] = []
        for place, state in enumerate(states):
            advance(state["step"])
            if state["step"].dim():
                apart.append((state["step"].view(-1), [place]))
            else:
                together.setdefault(int(state["step"]), []).append(place)
        shared: list[tuple[int | Tensor, list[int]]] = [*together.items()]
        for number, due in [*shared, *apart]:
            adamw8bit_steps(
                [weights[place] for place in due],
                [gradients[place] for place in due],
                [_moments(states[place]) for place in due],
                lr=rate,
                betas=(self.beta1, self.beta2),
                eps=EPSILON,
                weight_decay=self.weight_decay,
                step=number,
            )

    def forget(self, parameter: nn.Parameter, kept: Tensor) -> None:
        moments, kept = _moments(self.states[parameter]), kept.reshape(-1)
        first = blockwise.dequantize_signed(moments.first, moments.first_absmax)
        second = blockwise.dequantize_unsigned(moments.second, moments.second_absmax)
        for codes, absmax, (new_codes, new_absmax) in (
            (moments.first, moments.first_absmax, blockwise.quantize_signed(first * kept)),
            (moments.second, moments.second_absmax, quantize_second(second * kept)),
        ):
            codes.copy_(new_codes)
            absmax.copy_(new_absmax)
        state = self.states[parameter]
        state["step"] = forgotten(state["step"], (second * kept > 0).view(parameter.shape))


def _moments(state: State) -> Moments:
    return Moments(state["first"], state["first_absmax"], state["second"], state["second_absmax"])
