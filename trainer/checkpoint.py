"""Checkpoints of the training state, written atomically."""

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

from ..contracts.durable import flush
from ..contracts.errors import StoreError
from .history import History
from .parallel import Processes
from .sharding import Shards, gathered_state, parted_state

if TYPE_CHECKING:
    from .optimizers.optimizer import Optimizer
    from .sparse.projection import Projection

#: Bytes of the digest at the end of a checkpoint, and of a block that is read at once.
DIGEST, BLOCK = 32, 1 << 22


@dataclass(slots=True)
class TrainingState:
    """Everything that the next step depends on, and the file that stores it.

    ``identity``: identifies rows and settings, so that a checkpoint of others is refused.
    """

    path: Path
    identity: str
    optimizer: Optimizer
    projection: Projection | None
    processes: Processes
    history: History
    shards: Shards | None = None

    def save(self) -> None:
        """Write a checkpoint. All processes must call it; the first one writes."""
        parameters, optimizer = gathered_state(self.optimizer, self.shards)
        if self.processes.first:
            state = {
                "identity": self.identity,
                "parameters": parameters,
                "optimizer": optimizer,
                "projection": None if self.projection is None else self.projection.state(),
                "history": self.history.columns(),
            }
            save_checkpoint(self.path, state)
        self.processes.gather(None)  # wait until the file is written

    def resume(self) -> None:
        """Load the checkpoint if there is one.

        Raises StoreError for a checkpoint of other rows or other settings. The number of processes may
        differ.
        """
        state = load_checkpoint(self.path, self.identity)
        if state is None:
            return
        parameters, optimizer = parted_state(
            self.optimizer, self.shards, state["parameters"], state["optimizer"]
        )
        with torch.no_grad():
            for parameter, saved in zip(self.optimizer.parameters, parameters, strict=True):
                parameter.copy_(saved)
        self.optimizer.load(optimizer)
        if self.projection is not None:
            self.projection.load(state["projection"])
        for name, values in state["history"].items():
            getattr(self.history, name).extend(values)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors and plain values) and a digest of its bytes to ``path``.

    The file is written under a temporary name, flushed and then renamed.
    """
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
    """Return the state at ``path``, or None if there is none.

    A damaged file is renamed with a warning, and None is returned. Raises StoreError if the checkpoint
    belongs to other data or settings than ``identity``.
    """
    if not os.path.lexists(path):
        return None
    state = _whole(path)
    if state is None:
        names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in itertools.count())
        aside = next(name for name in names if not os.path.lexists(name))
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            path.rename(aside)
        warnings.warn(f"{path} is damaged: it is renamed to {aside}, and training starts again", stacklevel=2)
        return None
    if state.get("identity") != identity:
        raise StoreError(
            f"{path}: this checkpoint belongs to other rows or settings; remove it to train from the start"
        )
    return state


def _whole(path: Path) -> dict[str, Any] | None:
    """Return the state in the file, or None if its digest does not match (torch does not check)."""
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END) - DIGEST
        if size <= 0 or _digest(file, size) != file.read():
            return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _digest(file: IO[bytes], size: int) -> bytes:
    """Return the digest of the first ``size`` bytes, leaving the file positioned after them."""
    whole = blake2b(digest_size=DIGEST)
    file.seek(0)
    while size > 0 and (block := file.read(min(size, BLOCK))):
        whole.update(block)
        size -= len(block)
    return whole.digest()
