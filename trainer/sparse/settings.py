"""What a pipeline file says about sparse training. Imports no torch: the plan reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from .projection import Projection


class SparseSettings(BaseModel):
    """Which part of the weights' changes is kept, over ``adapter: {kind: delta}``.

    ``kind``: "selekt" (arXiv 2503.03656) or "half" (half fine-tuning, arXiv 2404.18466). ``density``, ``every`` (steps) and
    ``scope`` are SeleKT's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["selekt", "half"] = "selekt"
    density: float = Field(default=0.05, gt=0, le=1)
    every: int = Field(default=50, ge=1)
    scope: Literal["global", "tensor"] = "global"

    def projection(self, seed: int) -> Projection:
        """The policy itself. ``seed``: of what it draws."""
        from .half import Half
        from .selekt import SeleKT

        if self.kind == "half":
            return Half(seed)
        return SeleKT(self.density, self.every, self.scope)
