"""Regularization of adapters: a term of the loss that depends on their parameters alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .adapter import Adapter


def penalties(adapters: Sequence[nn.Module | None]) -> list[Tensor]:
    """Return the penalties of the adapters that have one: differentiable scalars."""
    found = [adapter.penalty() for adapter in adapters if isinstance(adapter, Adapter)]
    return [penalty for penalty in found if penalty is not None]


def add_penalties(adapters: Sequence[nn.Module | None]) -> None:
    """Add the gradient of the adapters' penalties to that of the step.

    All processes hold the gradient of the whole step then, so each adds the same.
    """
    trained = [penalty for penalty in penalties(adapters) if penalty.requires_grad]
    if trained:
        torch.autograd.backward(trained)
