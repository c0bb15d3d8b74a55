"""A training state on disk, whole or not at all."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..pipelines.errors import StoreError
from .device import random_states, set_random_states
from .history import History
from .parallel import Processes

if TYPE_CHECKING:
    from .optimizers.optimizer import Optimizer
    from .sparse.projection import Projection


@dataclass(slots=True)
class TrainingState:
    """All that the next step depends on, and the file that keeps it.

    ``identity``: names rows and settings, so that a checkpoint of others is refused.
    """

    path: Path
    identity: str
    optimizer: Optimizer
    projection: Projection | None
    processes: Processes
    history: History
    device: torch.device

    def save(self) -> None:
        """All processes must call it; the first one writes."""
        randoms = self.processes.gather(random_states(self.device))
        if self.processes.first:
            state = {
                "identity": self.identity,
                "parameters": [parameter.detach() for parameter in self.optimizer.parameters],
                "optimizer": self.optimizer.state(),
                "projection": None if self.projection is None else self.projection.state(),
                "random": randoms,
                "history": self.history.columns(),
            }
            save_checkpoint(self.path, state)
        self.processes.gather(None)  # nobody goes on before the file is there

    def resume(self) -> None:
        """Go on from the checkpoint, where there is one. Raises StoreError for one of other rows, settings or
        number of processes."""
        state = load_checkpoint(self.path, self.identity)
        if state is None:
            return
        if len(state["random"]) != self.processes.size:
            raise StoreError(
                f"{self.path}: a checkpoint of {len(state['random'])} processes, and this training has "
                f"{self.processes.size}; start as many, or remove it to train from the start"
            )
        with torch.no_grad():
            for parameter, saved in zip(self.optimizer.parameters, state["parameters"], strict=True):
                parameter.copy_(saved)
        self.optimizer.load(state["optimizer"])
        if self.projection is not None:
            self.projection.load(state["projection"])
        set_random_states(state["random"][self.processes.rank], self.device)
        for name, values in state["history"].items():
            getattr(self.history, name).extend(values)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors and plain values) to ``path``: to a temporary name, flushed, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_checkpoint(path: Path, identity: str) -> dict[str, Any] | None:
    """The state at ``path``; None where there is none.

    Raises StoreError where it cannot be read, or belongs to other data or settings than ``identity`` names.
    """
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise StoreError(
            f"{path}: cannot read the checkpoint ({error}); remove it to train from the start"
        ) from None
    if state.get("identity") != identity:
        raise StoreError(f"{path}: a checkpoint of other rows or settings; remove it to train from the start")
    return state
