"""What adapters draw at random in each optimizer step, all layers and all processes alike."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from .adapter import Adapter


def begin_step(adapters: Sequence[nn.Module | None], seed: int) -> None:
    """Let the adapters draw what is random in a step. ``seed``: of the step, the same in all processes."""
    for adapter in adapters:
        if isinstance(adapter, Adapter):
            adapter.begin_step(seed)
