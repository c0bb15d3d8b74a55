"""Regularization of adapters: a term of the loss that depends on their parameters alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from .adapter import Adapter


def add_penalties(adapters: Sequence[nn.Module | None]) -> None:
    """Add the gradient of the adapters' penalties to that of the step.

    All processes hold the gradient of the whole step then, so each adds the same.
    """
    found = [adapter.penalty() for adapter in adapters if isinstance(adapter, Adapter)]
    penalties = [penalty for penalty in found if penalty is not None and penalty.requires_grad]
    if penalties:
        torch.autograd.backward(penalties)
