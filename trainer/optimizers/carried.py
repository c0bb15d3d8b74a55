"""The optimizer's state next to an adapter, for a training that continues from it."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from torch import nn

from ..checkpoint import read_state, write_state
from .optimizer import Optimizer

NAME = "optimizer.pt"


def save_optimizer(optimizer: Optimizer, model: nn.Module, directory: Path) -> None:
    """Write the optimizer's state into the directory of the adapter of ``model`` that it trained."""
    write_state(directory / NAME, {"identity": _identity(optimizer, model), **optimizer.state()})


def continue_optimizer(optimizer: Optimizer, model: nn.Module, adapter: Path | None) -> bool:
    """Load the state that was saved with ``adapter``. False if there is none.

    Raises StoreError if it belongs to another optimizer or other parameters.
    """
    if adapter is None:
        return False
    state = read_state(adapter / NAME, _identity(optimizer, model))
    if state is None:
        return False
    optimizer.load(state)
    return True


def _identity(optimizer: Optimizer, model: nn.Module) -> str:
    names = {parameter: name for name, parameter in model.named_parameters()}
    # The parts of a sharded parameter have no name.
    trained = [(names.get(each), tuple(each.shape)) for each in optimizer.parameters]
    return blake2b(repr([type(optimizer).__name__, trained]).encode(), digest_size=16).hexdigest()
