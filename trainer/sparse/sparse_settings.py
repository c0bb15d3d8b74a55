"""Settings of sparse training in a pipeline file. Imports no torch, since plans need these settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ...contracts.frozen import Frozen

if TYPE_CHECKING:
    from .projection import Projection


class SparseSettings(Frozen):
    """Which part of the weights' changes is kept, over ``adapter: {kind: delta}``."""

    kind: Literal["selekt", "half"] = "selekt"
    """`selekt` keeps the largest changes (arXiv 2503.03656); `half` trains half of each block's matrices, and
    another half in the next training (arXiv 2404.18466)."""
    density: float = Field(default=0.05, gt=0, le=1)
    """Share of all entries that keep their change, with `selekt`."""
    every: int = Field(default=50, ge=1)
    """Optimizer steps between two selections, with `selekt`."""
    scope: Literal["global", "tensor"] = "global"
    """Whether `selekt` takes the largest changes of all layers together (`global`) or of each (`tensor`)."""

    def projection(self, seed: int) -> Projection:
        """Make the policy. ``seed``: seed of its random choices."""
        from .half import Half
        from .selekt import SeleKT

        if self.kind == "half":
            return Half(seed)
        return SeleKT(self.density, self.every, self.scope)
