"""Held-out loss as a criterion: the weights at its lowest measurement, and when to stop.

Both are functions of the measurements so far, which the history holds. So a resumed training decides as an
uninterrupted one does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..contracts.errors import StoreError
from .checkpoint import read_state, write_state
from .parallel import Processes
from .sharding import Shards, gathered, parted

#: The identity of the file; it lies in the folder of one training.
_KIND = "best weights"


@dataclass(frozen=True, slots=True)
class BestWeights:
    """The trained parameters at the lowest held-out loss so far, in the file ``path``.

    All processes must call its functions; the first one writes, and all read.
    """

    path: Path

    def keep(
        self,
        parameters: Sequence[nn.Parameter],
        measured: Sequence[float | None],
        shards: Shards | None = None,
    ) -> None:
        """Save the parameters if the last of the measurements is below all others."""
        losses = [loss for loss in measured if loss is not None]
        if _lowest(losses):
            saved = {"identity": _KIND, "parameters": gathered(parameters, shards)}
            if Processes.current().first:
                write_state(self.path, saved)

    def restore(
        self,
        parameters: Sequence[nn.Parameter],
        measured: Sequence[float | None],
        shards: Shards | None = None,
    ) -> float:
        """Load the saved parameters, unless the last measurement is the lowest. Returns their loss.

        Raises StoreError if the file is damaged, or is gone.
        """
        losses = [loss for loss in measured if loss is not None]
        Processes.current().gather(None)  # wait until the file is written
        if _lowest(losses) or not any(_lowest(losses[:number]) for number in range(1, len(losses))):
            return losses[-1]
        state = read_state(self.path, _KIND)
        if state is None:
            raise StoreError(
                f"{self.path}, the weights at the lowest held-out loss, is gone; remove {self.path.parent} "
                "to train from the start"
            )
        with torch.no_grad():
            own = parted(parameters, shards, state["parameters"])
            for parameter, saved in zip(parameters, own, strict=True):
                parameter.copy_(saved)
        return min(losses)


def _lowest(losses: Sequence[float]) -> bool:
    """Whether the last loss is below all others."""
    return losses[-1] < min(losses[:-1], default=float("inf"))


def exhausted(measured: Sequence[float | None], patience: int | None) -> bool:
    """Whether the last ``patience`` measurements are all not below the lowest one before them."""
    losses = [loss for loss in measured if loss is not None]
    if patience is None or len(losses) <= patience:
        return False
    return min(losses[-patience:]) >= min(losses[:-patience])
