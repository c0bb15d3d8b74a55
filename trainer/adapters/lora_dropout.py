"""LoRA Dropout: Lin et al., "LoRA Dropout as a Sparsity Regularizer for Overfitting Control".

arXiv 2404.09610.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor
from torch.nn.functional import dropout

from ...kernels.lora_linear import lora_linear
from ...kernels.products import Weight
from .lora import LoRA

if TYPE_CHECKING:
    from ..model.linear import Linear, LowRank
    from .adapter_settings import AdapterSettings


class LoRADropout(LoRA):
    """LoRA of which a share ``factor_dropout`` of the columns of A, and of the rows of B, is zero in a pass.

    What remains is divided by the share that remains, so that the expected product is ``B A``. The rank is
    never reduced. Outside of training, nothing is dropped: this is the mean of the weights of the instances
    that the paper averages in a test-time ensemble.
    """

    def __init__(self, shape: tuple[int, int], *, factor_dropout: float = 0.0, **settings: Any) -> None:
        super().__init__(shape, **settings)
        self.factor_dropout = factor_dropout

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        adapter = super().over(linear, settings, rank, generator)
        adapter.factor_dropout = settings.factor_dropout
        return adapter

    def forward(self, x: Tensor, weight: Callable[[], Weight], bias: Tensor | None) -> Tensor:
        if not self.training:
            return super().forward(x, weight, bias)
        columns = dropout(torch.ones_like(self.a[:1]), self.factor_dropout)
        rows = dropout(torch.ones_like(self.b[:, :1]), self.factor_dropout)
        a, b = self.a * columns, self.b * rows
        return lora_linear(x, weight, bias, a, b, self.scale, self._dropped(x))

    def low_rank(self, dtype: torch.dtype) -> LowRank | None:
        """Return None in training, when the factors differ from pass to pass."""
        return None if self.training else super().low_rank(dtype)
