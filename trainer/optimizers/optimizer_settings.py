"""Settings of single optimizers in a pipeline file. Imports no torch, since plans need these settings."""

from __future__ import annotations

from pydantic import Field

from ...contracts.frozen import Frozen


class GaLoreSettings(Frozen):
    """How gradients are projected to a low rank."""

    rank: int = Field(default=128, ge=1)
    """Rank of the projected gradients. A matrix whose smaller side is not larger is trained with AdamW."""
    every: int = Field(default=200, ge=1)
    """Updates of a matrix between two computations of its projection."""
    scale: float = Field(default=0.25, gt=0)
    """Factor of the update."""
