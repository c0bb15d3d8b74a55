"""Bottleneck adapters: a narrow layer with a non-linearity, in series with a sublayer or parallel to it.

In series: Houlsby et al., "Parameter-Efficient Transfer Learning for NLP" (arXiv 1902.00751). Parallel and
scaled: He et al., "Towards a Unified View of Parameter-Efficient Transfer Learning" (arXiv 2110.04366). Both
for decoders: Hu et al., "LLM-Adapters" (arXiv 2304.01933).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from .adapter_names import BottleneckActivation, BottleneckForm
from .unmerged import Unmerged

if TYPE_CHECKING:
    from ..model.linear import Linear
    from .adapter_settings import AdapterSettings

ACTIVATIONS: dict[BottleneckActivation, Callable[[Tensor], Tensor]] = {
    "relu": nn.functional.relu,
    "tanh": torch.tanh,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
}


class Bottleneck(Unmerged):
    """Adds ``s U f(D h)`` to the output y of a sublayer, without biases.

    ``h`` is y itself in series, and the input of the sublayer if parallel. D: ``down`` (r, N), drawn as in
    LoRA. U: ``up`` (N, r), initially zero. N: the width of the residual stream. s: alpha / r.
    """

    def __init__(
        self,
        width: int,
        rank: int,
        *,
        scale: float,
        form: BottleneckForm,
        activation: BottleneckActivation,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.scale, self.form, self.activation = scale, form, activation
        bound = 1 / math.sqrt(width)
        self.down = nn.Parameter(torch.empty(rank, width).uniform_(-bound, bound, generator=generator))
        self.up = nn.Parameter(torch.zeros(width, rank))

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        return cls(
            linear.shape[0],
            rank,
            scale=settings.scale,
            form=settings.bottleneck_form,
            activation=settings.bottleneck_activation,
            generator=generator,
        ).to(linear.device)

    def beside(self, x: Tensor, y: Tensor) -> Tensor:
        narrow = (y if self.form == "series" else x) @ self.down.to(y.dtype).T
        return y + self.scale * (ACTIVATIONS[self.activation](narrow) @ self.up.to(y.dtype).T)

    @classmethod
    def count(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        return 2 * settings.rank * shape[0]

    @classmethod
    def kept(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """The narrow layer before and after its non-linearity; in series, the sublayer's output too."""
        return 2 * settings.rank + (shape[0] if settings.bottleneck_form == "series" else 0)
