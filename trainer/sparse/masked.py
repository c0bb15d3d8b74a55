"""Base of the policies that train only the entries of a mask of each layer."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from ..model.decoder import Decoder
from ..optimizers.optimizer import Optimizer
from .projection import Projection, deltas


class Masked(Projection):
    """Gradients are zero outside the masks, and so are moments: an entry outside keeps its value.

    ``masks``: a bool tensor by layer, which broadcasts to the layer's weight (N, K). A layer without one is
    trained whole. ``start``: the changes that an earlier training made, of the layers that have any. A policy
    counts and resets relative to these.
    """

    def __init__(self) -> None:
        self.parameters: dict[str, nn.Parameter] = {}
        self.masks: dict[str, Tensor] = {}
        self.start: dict[str, Tensor] = {}

    def begin(self, model: Decoder) -> None:
        self.parameters = deltas(model)
        self.start = {name: each.detach().clone() for name, each in self.parameters.items() if each.any()}

    def choose(self, name: str, mask: Tensor, optimizer: Optimizer) -> None:
        """Train the entries of ``mask`` of the layer ``name`` from now on. All others lose their moments."""
        self.masks[name] = mask
        parameter = self.parameters[name]
        optimizer.forget(parameter, mask.expand(parameter.shape))

    @torch.no_grad()
    def reset(self, name: str, where: Tensor | None = None) -> None:
        """Set the change of the layer ``name`` to that at the start, where ``where`` (bool) is true."""
        parameter = self.parameters[name]
        before = self.start.get(name, torch.zeros((), device=parameter.device))
        parameter.copy_(before if where is None else torch.where(where, before, parameter))

    def before_update(self, step: int, optimizer: Optimizer) -> None:
        for name, mask in self.masks.items():
            gradient = self.parameters[name].grad
            if gradient is not None:
                gradient.masked_fill_(~mask, 0.0)

    def state(self) -> dict[str, Any]:
        return {"masks": self.masks}

    def load(self, state: dict[str, Any]) -> None:
        self.masks = {name: mask.to(self.parameters[name].device) for name, mask in state["masks"].items()}


def entries_of(density: float, count: int) -> int:
    """Return the share ``density`` of ``count``, rounded down. As a decimal, so that 0.29 of 100 is 29."""
    return int(Fraction(repr(density)) * count)
