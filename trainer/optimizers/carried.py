"""The optimizer's state next to an adapter, for a training that continues from it."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from ..checkpoint import read_state, write_state
from .optimizer import Optimizer

NAME = "optimizer.pt"


def save_optimizer(optimizer: Optimizer, directory: Path) -> None:
    """Write the optimizer's state into the directory of the adapter that it trained."""
    write_state(directory / NAME, {"identity": _identity(optimizer), **optimizer.state()})


def continue_optimizer(optimizer: Optimizer, adapter: Path | None) -> bool:
    """Load the state that was saved with ``adapter``. False if there is none.

    Raises StoreError if it belongs to another optimizer or other parameters.
    """
    if adapter is None:
        return False
    state = read_state(adapter / NAME, _identity(optimizer))
    if state is None:
        return False
    optimizer.load(state)
    return True


def _identity(optimizer: Optimizer) -> str:
    shapes = [tuple(parameter.shape) for parameter in optimizer.parameters]
    return blake2b(repr([type(optimizer).__name__, shapes]).encode(), digest_size=16).hexdigest()
