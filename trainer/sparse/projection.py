"""The slot for sparse training: which part of the weights' dense changes is kept.

A model trained this way has :class:`gristmill.trainer.adapters.delta.DenseDelta` over its linear layers
(``adapter: {kind: delta}``). The training loop calls a projection thus::

    projection.begin(model)                      # before the optimizer is made
    optimizer = ...                              # over the parameters that are left
    for step in ...:
        optimizer.step()
        projection.after_step(step, deltas(model), optimizer)
        # a checkpoint holds projection.state(), and projection.load(it) follows the optimizer's own when it is resumed
    projection.finish(deltas(model), optimizer)  # after the last step, also where none was left to do
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ...pipelines.errors import ModelError
from ..adapters.delta import DenseDelta
from ..model import Decoder


class Projection(Protocol):
    """A policy over the deltas of a model. ``deltas``: layer name -> its parameter (N, K), always in the same order."""

    def begin(self, model: Decoder) -> None:
        """Called once on the model with its deltas at zero; may take deltas away, which freezes their layers."""
        ...

    def after_step(
        self, step: int, deltas: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
    ) -> None:
        """Called after each update; ``step`` counts from 0."""
        ...

    def finish(self, deltas: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        """Called after the last update. Doing it twice changes nothing."""
        ...

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold of it, plain values and tensors."""
        ...

    def load(self, state: dict[str, Any]) -> None: ...


def deltas(model: Decoder) -> dict[str, nn.Parameter]:
    """The model's deltas by layer name, in the order of the layers."""
    return {
        name: linear.adapter.delta
        for name, linear in model.linears()
        if isinstance(linear.adapter, DenseDelta)
    }


def keep_only(parameter: nn.Parameter, mask: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Zero what ``mask`` (bool, of the parameter's shape) leaves out: of the parameter, and of its moments in ``optimizer``, so
    that no momentum of a dropped entry lives on.

    An optimizer whose moments have another form offers ``keep(parameter, mask)`` itself. Raises ModelError for one whose
    state is in another form and that does not.
    """
    with torch.no_grad():
        # Not a product: -1 * 0 would leave a negative zero.
        parameter.masked_fill_(~mask, 0.0)
        keep = getattr(optimizer, "keep", None)
        if keep is not None:
            keep(parameter, mask)
            return
        for name, value in optimizer.state.get(parameter, {}).items():
            if not isinstance(value, Tensor) or value.dim() == 0:
                continue
            if value.shape != parameter.shape or not value.is_floating_point():
                raise ModelError(
                    f"{type(optimizer).__name__} holds {name!r} in another form than its parameter, so a sparse projection "
                    "cannot drop entries of it: use an optimizer with whole moments, such as adamw or lion"
                )
            value.masked_fill_(~mask, 0.0)
