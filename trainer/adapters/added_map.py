"""Adapters that add a linear map of the layer's input to its output."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from ...kernels.frozen_linear import frozen_linear
from .adapter import Adapter


class AddedMap(Adapter):
    """Adds ``change(x)``, which must be linear in x, so that its matrix can be merged into the weight."""

    @abstractmethod
    def change(self, x: Tensor) -> Tensor:
        """Return what is added to the output: (tokens, N), for ``x`` (tokens, K), in its dtype."""

    def forward(self, x: Tensor, weight: Callable[[], Tensor], bias: Tensor | None) -> Tensor:
        return frozen_linear(x, weight, bias) + self.change(x)

    def merged(self, weight: Tensor) -> Tensor:
        with torch.no_grad():
            return (
                weight + self.change(torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)).T
            )
