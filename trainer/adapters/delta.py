"""Training of the weights themselves, as a dense change of a frozen base.

This is full fine-tuning, and the basis of sparse deltas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from ...kernels.delta_linear import delta_linear

if TYPE_CHECKING:
    from ..model.linear import Linear
    from .adapter_settings import AdapterSettings


class DenseDelta(nn.Module):
    """A trained change ``delta`` (N, K) of the weight, float32, initially zero.

    It is never rounded to the base's dtype. Over a bf16 base it takes as much memory as a float32 master
    copy. Over a quantized base, training is dense while the base stays in 4 bits. Sparse policies are in
    :mod:`gristmill.trainer.sparse`.
    """

    def __init__(self, shape: tuple[int, int], device: torch.device | None = None) -> None:
        super().__init__()
        self.delta = nn.Parameter(torch.zeros(shape, device=device))

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        return cls(linear.shape, linear.device)

    def forward(self, x: Tensor, weight: Callable[[], Tensor], bias: Tensor | None) -> Tensor:
        return delta_linear(x, weight, bias, self.delta)

    def low_rank(self, dtype: torch.dtype) -> None:
        """Return None: a dense change has full rank."""

    def merged(self, weight: Tensor) -> Tensor:
        """Return ``weight`` (N, K), float32, plus the delta."""
        return weight + self.delta.detach()

    def rates(self) -> dict[str, float]:
        return {}

    def state(self) -> dict[str, Tensor]:
        return {"delta": self.delta.detach()}

    def load(self, state: dict[str, Tensor]) -> None:
        with torch.no_grad():
            self.delta.copy_(state["delta"])
