"""A training state on disk, whole or not at all."""

from __future__ import annotations

import contextlib
import itertools
import os
import warnings
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import torch

from ..pipelines.errors import StoreError
from .device import random_states, set_random_states
from .history import History
from .parallel import Processes
from .placing import flush

if TYPE_CHECKING:
    from .optimizers.optimizer import Optimizer
    from .sparse.projection import Projection

#: Bytes of the digest that ends a checkpoint, and of what is read at once.
DIGEST, BLOCK = 32, 1 << 22


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
    """Write ``state`` (tensors and plain values) and a digest of its bytes to ``path``: to a temporary name,
    flushed, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        torch.save(state, file)
    with temporary.open("r+b") as file:
        found = _digest(file, file.seek(0, os.SEEK_END))
        file.write(found)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    flush(path.parent)


def load_checkpoint(path: Path, identity: str) -> dict[str, Any] | None:
    """The state at ``path``; None where there is none, or where it is damaged: it is then set aside beside,
    with a warning.

    Raises StoreError where it belongs to other data or settings than ``identity`` names.
    """
    if not os.path.lexists(path):
        return None
    state = _whole(path)
    if state is None:
        names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in itertools.count())
        aside = next(name for name in names if not os.path.lexists(name))
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            path.rename(aside)
        warnings.warn(
            f"{path} is damaged: it is set aside as {aside}, and training starts anew", stacklevel=2
        )
        return None
    if state.get("identity") != identity:
        raise StoreError(f"{path}: a checkpoint of other rows or settings; remove it to train from the start")
    return state


def _whole(path: Path) -> dict[str, Any] | None:
    """The state in the file; None where the file is not what was written (torch itself does not look)."""
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END) - DIGEST
        if size <= 0 or _digest(file, size) != file.read():
            return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _digest(file: IO[bytes], size: int) -> bytes:
    """The digest of the first ``size`` bytes, where the file stands afterwards."""
    whole = blake2b(digest_size=DIGEST)
    file.seek(0)
    while size > 0 and (block := file.read(min(size, BLOCK))):
        whole.update(block)
        size -= len(block)
    return whole.digest()
