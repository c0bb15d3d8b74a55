"""Interface of policies: which part of the changes of the weights is trained, and which is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from ..adapters.delta import DenseDelta

if TYPE_CHECKING:
    from ..data.packs import Pack
    from ..model.decoder import Decoder
    from ..optimizers.optimizer import Optimizer
    from .sparse_settings import SparseSettings

#: Bytes per value of the optimizer's counts of updates, if a policy makes it forget some of the values.
COUNTS = 2


class Projection:
    """A policy over what one model trains. A subclass overrides what it needs.

    ``over``: the kinds of adapter that it chooses among.
    """

    over: ClassVar[frozenset[str]] = frozenset({"delta"})
    #: Share of the adapters' values that take memory, for the memory plan.
    share: ClassVar[float] = 1.0
    #: Bytes that the policy holds, or has the optimizer hold, per value of the adapters, for the memory plan.
    held_bytes: ClassVar[int] = 0
    #: Number of optimizer steps of the training, known before ``begin``.
    steps: int = 0
    #: Its packs in the order of training, on the CPU, known before ``begin``.
    packs: Iterable[Pack] = ()
    #: Whether the optimizer's state of a parameter is made at its first update only.
    lazy: ClassVar[bool] = False

    @classmethod
    def resting(cls, settings: SparseSettings, blocks: int) -> float:
        """Return the share of the adapters' values without gradient and optimizer state at any time.

        ``blocks``: those of the model. For the memory plan.
        """
        return 0.0

    @classmethod
    def links(cls, settings: SparseSettings, steps: int) -> int:
        """Return how many adapters are merged into the base in so many steps, for the memory plan.

        They are kept on the host, and the base is held in float32.
        """
        return 0

    @classmethod
    def of(cls, settings: SparseSettings, seed: int) -> Self:
        """Make the policy. ``seed``: seed of its random choices. Every subclass overrides it."""
        raise NotImplementedError

    def begin(self, model: Decoder) -> None:
        """Prepare the model; may remove or freeze adapters.

        Called once, before the optimizer is created, on a model whose adapters are new or those of an earlier
        training.
        """

    def phases(self) -> list[int]:
        """Return the steps of each part of the training that has a schedule of the learning rate of its own.

        Called after ``begin``.
        """
        return [self.steps]

    def measure(self, step: int, loss: Callable[[], float]) -> None:
        """Look at the loss of the step's rows for values that the policy may set, and restore.

        ``loss``: computes it, without gradients and dropout. Called before :meth:`before_step`.
        """

    def before_step(self, step: int, optimizer: Optimizer) -> None:
        """Choose what the step trains.

        A parameter that does not require a gradient is not changed in this step, nor are its moments. Called
        before the first pass of every step, also of the first one after a checkpoint was loaded. ``step``
        counts from 0.
        """

    def before_update(self, step: int, optimizer: Optimizer) -> None:
        """Look at the step's gradients, or change them. Called before they are clipped."""

    def after_step(self, step: int, last: bool, optimizer: Optimizer) -> None:
        """Apply the policy after an update. ``last``: whether this is the last step."""

    def state(self) -> dict[str, Any]:
        """Return the policy's state for a checkpoint: plain values and tensors."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Restore a state from :meth:`state`, after a call of ``begin``."""


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
