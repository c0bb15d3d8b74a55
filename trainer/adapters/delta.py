"""Training of the weights themselves, as a dense change of a frozen base.

This is full fine-tuning, and the basis of sparse deltas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor, nn

from ...kernels.delta_linear import delta_linear
from .adapter import Adapter, Layout

if TYPE_CHECKING:
    from ..model.linear import Linear
    from .adapter_settings import AdapterSettings


class DenseDelta(Adapter):
    """A trained change ``delta`` (N, K) of the weight, float32, initially zero.

    It is never rounded to the base's dtype. Over a bf16 base it takes as much memory as a float32 master
    copy. Over a quantized base, training is dense while the base stays in 4 bits. Sparse policies are in
    :mod:`gristmill.trainer.sparse`.
    """

    layout: ClassVar[Layout] = "delta"
    formed: ClassVar[int] = 1

    def __init__(self, shape: tuple[int, int], device: torch.device | None = None) -> None:
        super().__init__()
        self.delta = nn.Parameter(torch.zeros(shape, device=device))

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        return cls(linear.shape, linear.device)

    def forward(self, x: Tensor, weight: Callable[[], Tensor], bias: Tensor | None) -> Tensor:
        return delta_linear(x, weight, bias, self.delta)

    def merged(self, weight: Tensor) -> Tensor:
        """Return ``weight`` (N, K), float32, plus the delta."""
        return weight + self.delta.detach()

    @classmethod
    def count(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        return shape[0] * shape[1]
