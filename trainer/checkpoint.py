"""A training state on disk, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..pipelines.errors import StoreError


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors and plain values) to ``path``: to a temporary name, flushed, then renamed."""
    import torch

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
    import torch

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
