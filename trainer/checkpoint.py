"""Checkpoints of the training state, written atomically; the last two are kept."""

from __future__ import annotations

import contextlib
import itertools
import os
import warnings
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import torch

from ..contracts.durable import flush
from ..contracts.errors import StoreError
from .history import History
from .history_file import Entry, HistoryFile, HistoryMark
from .parallel import Processes
from .sharding import Shards, gathered_state, parted_state

if TYPE_CHECKING:
    from .optimizers.optimizer import Optimizer
    from .sparse.projection import Projection

#: Bytes of the digest at the end of a checkpoint, and of a block that is read at once.
DIGEST, BLOCK = 32, 1 << 22


@dataclass(slots=True)
class TrainingState:
    """Everything that the next step depends on, and the files that store it.

    The history is appended to ``history.jsonl`` beside ``path``, so a checkpoint does not grow with it.
    ``identity``: identifies rows and settings, so that a checkpoint of others is refused.
    """

    path: Path
    identity: str
    optimizer: Optimizer
    projection: Projection | None
    processes: Processes
    history: History
    shards: Shards | None = None
    #: The file of the history, and the number of entries that it has.
    _history_file: HistoryFile = field(init=False)
    _written: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._history_file = HistoryFile(self.path.with_name("history.jsonl"))

    def save(self) -> None:
        """Write a checkpoint. All processes must call it; the first one writes."""
        parameters, optimizer = gathered_state(self.optimizer, self.shards)
        if self.processes.first:
            state = {
                "identity": self.identity,
                "parameters": parameters,
                "optimizer": optimizer,
                "projection": None if self.projection is None else self.projection.state(),
                "history": asdict(self._history_file.append(self.history.entries(self._written))),
            }
            self._written = len(self.history.step)
            save_checkpoint(self.path, state)
        self.processes.gather(None)  # wait until the file is written

    def resume(self) -> None:
        """Load the checkpoint if there is one.

        Raises StoreError for a checkpoint of other rows or other settings. The number of processes may
        differ.
        """
        found = load_checkpoint(self.path, self.identity, self._history_file)
        if found is None:
            return
        state, entries = found
        parameters, optimizer = parted_state(
            self.optimizer, self.shards, state["parameters"], state["optimizer"]
        )
        with torch.no_grad():
            for parameter, saved in zip(self.optimizer.parameters, parameters, strict=True):
                parameter.copy_(saved)
        self.optimizer.load(optimizer)
        if self.projection is not None:
            self.projection.load(state["projection"])
        for entry in entries:
            self.history.add(**entry)
        self._written = len(entries)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` as :func:`write_state` does, and keep the checkpoint before it at :func:`earlier`."""
    temporary = _write(path, state)
    if os.path.lexists(path):
        path.replace(earlier(path))
    temporary.replace(path)
    flush(path.parent)


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors and plain values) and a digest of its bytes to ``path``.

    The file is written under a temporary name, flushed and then renamed.
    """
    _write(path, state).replace(path)
    flush(path.parent)


def read_state(path: Path, identity: str) -> dict[str, Any] | None:
    """Return what :func:`write_state` wrote, None if there is nothing.

    Raises StoreError for a damaged file, and for one of another ``identity``.
    """
    if not os.path.lexists(path):
        return None
    state = _whole(path)
    if state is None:
        raise StoreError(f"{path} is damaged; remove it")
    if state.get("identity") != identity:
        raise StoreError(f"{path} was written by another training, or with other settings; remove it")
    return state


def _write(path: Path, state: dict[str, Any]) -> Path:
    """Write a state under a temporary name beside ``path``, durably; return that name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        torch.save(state, file)
    with temporary.open("r+b") as file:
        found = _digest(file, file.seek(0, os.SEEK_END))
        file.write(found)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def load_checkpoint(
    path: Path, identity: str, history: HistoryFile
) -> tuple[dict[str, Any], list[Entry]] | None:
    """Return the newest sound state of ``path``, and the entries of ``history`` up to it; None if none is.

    The checkpoint before the newest is kept at :func:`earlier`. A damaged checkpoint, or one whose history
    is damaged, is renamed, and one warning says what the training goes on from. Raises StoreError if a
    checkpoint belongs to other data or settings than ``identity``.
    """
    damaged: list[str] = []
    found = None
    for place in (path, earlier(path)):
        if not os.path.lexists(place):
            continue
        state = _whole(place)
        if state is not None and state.get("identity") != identity:
            raise StoreError(
                f"{place}: this checkpoint belongs to other rows or settings; remove it to train from the "
                "start"
            )
        entries = None if state is None else history.read(HistoryMark(**state["history"]))
        if state is not None and entries is not None:
            found = state, entries
            break
        what = f"{place} is" if state is None else f"{history.path}, which {place.name} needs, is"
        damaged.append(f"{what} damaged: the checkpoint is renamed to {_set_aside(place).name}")
    if damaged:
        goes_on = "starts again" if found is None else f"goes on from step {len(found[1])} ({place.name})"
        warnings.warn(f"{'; '.join(damaged)}. Training {goes_on}", stacklevel=2)
    return found


def earlier(path: Path) -> Path:
    """Return the path of the checkpoint before the one at ``path``."""
    return path.with_name(f"{path.stem}.before{path.suffix}")


def _set_aside(path: Path) -> Path:
    names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in itertools.count())
    aside = next(name for name in names if not os.path.lexists(name))
    with contextlib.suppress(FileNotFoundError):  # another process was faster
        path.rename(aside)
    return aside


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
