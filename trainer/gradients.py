"""The gradient of a step, from the packs of all processes: its sum and its norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from .model.decoder import Decoder
from .sharding import Shards


class StepGradients:
    """Sums the gradients of a step over the processes, layer by layer.

    A layer's sum over the processes starts when its own gradients are complete, and is computed while the
    backward pass goes on with the layers below (Li et al., "PyTorch Distributed", arXiv 2006.15704). All
    processes start the sums in the same order, whatever their packs. The gradients of sharded parameters are
    summed by ``fully_shard``.
    """

    def __init__(
        self, model: Decoder, parameters: Sequence[nn.Parameter], size: int, shards: Shards | None = None
    ) -> None:
        self._shards = shards
        self._parts = [] if shards is None else shards.local
        self._whole = [each for each in parameters if all(each is not part for part in self._parts)]
        self._layers = _by_layer(model, self._whole) if size > 1 else []
        self._place = {each: number for number, layer in enumerate(self._layers) for each in layer}
        #: Gradients that are missing in each layer, during the last backward pass.
        self._missing: list[int] | None = None
        self._sums: list[Any] = []
        self._hooks = [
            each.register_post_accumulate_grad_hook(self._arrived)  # type: ignore[no-untyped-call]
            for each in self._place
        ]

    def expect_last(self) -> None:
        """Announce the last backward pass of this process in a step."""
        self._missing = [sum(each.requires_grad for each in layer) for layer in self._layers]

    def finish(self) -> None:
        """Leave the gradient of the whole step in each parameter. All processes must call it."""
        while len(self._sums) < len(self._layers):
            self._start()
        for started in self._sums:
            started.wait()
        self._sums, self._missing = [], None
        if self._shards is not None:
            self._shards.take_gradients()

    def clip(self, limit: float) -> float:
        """Scale the gradient down to norm ``limit`` (0: never) if it is larger. Returns its norm before."""
        norm = _norm(self._whole)
        if self._parts:
            squares = _norm(self._parts).square()
            distributed.all_reduce(squares)
            norm = (squares + norm.to(squares.device).square()).sqrt()
        if limit:
            clip_grads_with_norm_([*self._whole, *self._parts], limit, norm)
        return norm.item()

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _arrived(self, parameter: Tensor) -> None:
        """Start the sums whose gradients are complete; called when autograd has written a gradient."""
        if self._missing is None:
            return
        self._missing[self._place[parameter]] -= 1  # type: ignore[index]
        while len(self._sums) < len(self._layers) and not self._missing[len(self._sums)]:
            self._start()

    def _start(self) -> None:
        """Start the next layer's sum. Its gradients become views of one tensor; a missing one is zero.

        Parameters that the step does not train have none, in all processes.
        """
        layer = [each for each in self._layers[len(self._sums)] if each.requires_grad]
        if not layer:
            self._sums.append(_Nothing())
            return
        found = [torch.zeros_like(each) if each.grad is None else each.grad for each in layer]
        flat = torch.cat([gradient.flatten() for gradient in found])
        for parameter, part in zip(layer, torch.split(flat, [each.numel() for each in layer])):
            parameter.grad = part.view_as(parameter)
        self._sums.append(distributed.all_reduce(flat, async_op=True))


class _Nothing:
    """The sum of a layer that the step does not train."""

    def wait(self) -> None:
        """Return at once."""


def _by_layer(model: Decoder, parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Return the parameters of each layer, in the order in which the backward pass completes them."""
    left = dict.fromkeys(parameters)
    layers = []
    for block in reversed(model.layers):
        layers.append([each for each in block.parameters() if each in left])
        for each in layers[-1]:
            del left[each]
    return [layer for layer in [*layers, list(left)] if layer]


def _norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    return get_total_norm([each.grad for each in parameters if each.grad is not None])
