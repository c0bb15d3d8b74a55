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
        if losses[-1] < min(losses[:-1], default=float("inf")):
            saved = {"identity": _KIND, "parameters": gathered(parameters, shards)}
            if Processes.current().first:
                write_state(self.path, saved)

    def restore(
        self,
        parameters: Sequence[nn.Parameter],
        measured: Sequence[float | None],
        shards: Shards | None = None,
    ) -> float:
        """Load the saved parameters, unless the last measurement is the lowest. Returns their loss."""
        losses = [loss for loss in measured if loss is not None]
        Processes.current().gather(None)  # wait until the file is written
        state = read_state(self.path, _KIND)
        if state is None or losses[-1] < min(losses[:-1], default=float("inf")):
            return losses[-1]
        with torch.no_grad():
            own = parted(parameters, shards, state["parameters"])
            for parameter, saved in zip(parameters, own, strict=True):
                parameter.copy_(saved)
        return min(losses)


def exhausted(measured: Sequence[float | None], patience: int | None) -> bool:
    """Whether the last ``patience`` measurements are all not below the lowest one before them."""
    losses = [loss for loss in measured if loss is not None]
    if patience is None or len(losses) <= patience:
        return False
    return min(losses[-patience:]) >= min(losses[:-patience])
