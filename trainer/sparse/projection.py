"""The slot for what keeps a change of the weights within bounds: which part of their dense changes is kept.

A model trained this way has :class:`gristmill.trainer.adapters.delta.DenseDelta` over its linear layers
(``adapter: {kind: delta}``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from ..adapters.delta import DenseDelta

if TYPE_CHECKING:
    from ..model import Decoder
    from ..optimizers.optimizer import Optimizer


class Projection(Protocol):
    """A policy over the deltas of one model."""

    def begin(self, model: Decoder) -> None:
        """Called once, before the optimizer is made, on a model whose deltas are at zero or at those of an earlier training;
        may take deltas away or freeze them."""
        ...

    def after_step(self, step: int, last: bool, optimizer: Optimizer) -> None:
        """Called after each update. ``step`` counts from 0; ``last``: no other follows."""
        ...

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold of it: plain values and tensors."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave; ``begin`` was called before."""
        ...


def deltas(model: Decoder) -> dict[str, nn.Parameter]:
    """The model's deltas by layer name, in the order of the layers."""
    return {
        name: linear.adapter.delta
        for name, linear in model.linears()
        if isinstance(linear.adapter, DenseDelta)
    }


def keep_only(parameter: nn.Parameter, kept: Tensor, optimizer: Optimizer) -> None:
    """Zero what ``kept`` (bool, of the parameter's shape) leaves out: of the parameter, and of its moments, so that no
    momentum of a dropped entry lives on."""
    with torch.no_grad():
        # Not a product: -1 * 0 would leave a negative zero.
        parameter.masked_fill_(~kept, 0.0)
    optimizer.forget(parameter, kept)
