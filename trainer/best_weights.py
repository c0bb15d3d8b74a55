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

from .checkpoint import load_checkpoint, save_checkpoint
from .parallel import Processes

#: The identity of the file; it lies in the folder of one training.
_KIND = "best weights"


@dataclass(frozen=True, slots=True)
class BestWeights:
    """The trained parameters at the lowest held-out loss so far, in the file ``path``.

    With several processes each has its own file.
    """

    path: Path

    def keep(self, parameters: Sequence[nn.Parameter], measured: Sequence[float | None]) -> None:
        """Save the parameters if the last of the measurements is below all others."""
        losses = [loss for loss in measured if loss is not None]
        if losses[-1] < min(losses[:-1], default=float("inf")):
            saved = {"identity": _KIND, "parameters": [each.detach() for each in parameters]}
            save_checkpoint(self._own(), saved)

    def restore(self, parameters: Sequence[nn.Parameter], measured: Sequence[float | None]) -> float:
        """Load the saved parameters, unless the last measurement is the lowest. Returns their loss."""
        losses = [loss for loss in measured if loss is not None]
        state = load_checkpoint(self._own(), _KIND)
        if state is None or losses[-1] < min(losses[:-1], default=float("inf")):
            return losses[-1]
        with torch.no_grad():
            for parameter, saved in zip(parameters, state["parameters"], strict=True):
                parameter.copy_(saved)
        return min(losses)

    def _own(self) -> Path:
        rank = Processes.current().rank
        return self.path.with_stem(f"{self.path.stem}-{rank}") if rank else self.path


def exhausted(measured: Sequence[float | None], patience: int | None) -> bool:
    """Whether the last ``patience`` measurements are all not below the lowest one before them."""
    losses = [loss for loss in measured if loss is not None]
    if patience is None or len(losses) <= patience:
        return False
    return min(losses[-patience:]) >= min(losses[:-patience])
