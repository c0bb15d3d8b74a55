"""Adapters that do not change a weight: they cannot be merged, and are served beside the base."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from ...contracts.errors import ModelError
from ...kernels.frozen_linear import frozen_linear
from .adapter import Adapter


class Unmerged(Adapter):
    """Leaves its own layer as it is, and changes the attention or the sublayer around it."""

    merges: ClassVar[bool] = False

    def forward(self, x: Tensor, weight: Callable[[], Tensor], bias: Tensor | None) -> Tensor:
        return frozen_linear(x, weight, bias)

    def merged(self, weight: Tensor) -> Tensor:
        """Raise ModelError: there is no such weight."""
        raise ModelError("this adapter does not change a weight, so it cannot be merged into one")
