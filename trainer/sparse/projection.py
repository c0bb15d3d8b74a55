"""Interface of sparse policies: which part of the dense changes of the weights is kept.

A model trained this way has :class:`gristmill.trainer.adapters.delta.DenseDelta` over its linear layers
(``adapter: {kind: delta}``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from ..adapters.delta import DenseDelta

if TYPE_CHECKING:
    from ..model.decoder import Decoder
    from ..optimizers.optimizer import Optimizer


class Projection(Protocol):
    """A policy over the deltas of one model."""

    def begin(self, model: Decoder) -> None:
        """Prepare the model; may remove or freeze deltas.

        Called once, before the optimizer is created, on a model whose deltas are zero or those of an earlier
        training.
        """
        ...

    def after_step(self, step: int, last: bool, optimizer: Optimizer) -> None:
        """Apply the policy after an update.

        ``step`` counts from 0. ``last``: whether this is the last step.
        """
        ...

    def state(self) -> dict[str, Any]:
        """Return the policy's state for a checkpoint: plain values and tensors."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """Restore a state from :meth:`state`, after a call of ``begin``."""
        ...


def deltas(model: Decoder) -> dict[str, nn.Parameter]:
    """Return the model's deltas by layer name, in the order of the layers."""
    return {
        name: linear.adapter.delta
        for name, linear in model.linears()
        if isinstance(linear.adapter, DenseDelta)
    }


def keep_only(parameter: nn.Parameter, kept: Tensor, optimizer: Optimizer) -> None:
    """Set to zero the entries of a parameter, and of its moments, where ``kept`` is false.

    ``kept``: bool, of the parameter's shape. Without its moments, a dropped entry would regain its momentum.
    """
    with torch.no_grad():
        # Not a product with the mask: -1 * 0 would give a negative zero.
        parameter.masked_fill_(~kept, 0.0)
    optimizer.forget(parameter, kept)
