"""Settings of sparse training in a pipeline file. Imports no torch, since plans need these settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from ...contracts.frozen import Frozen

if TYPE_CHECKING:
    from .projection import Projection


#: The names that ``trainer/sparse/policy_table.py`` maps to classes. A test checks that both agree.
Policy = Literal["selekt", "half", "cola", "increlora"]
#: The kinds of adapter that a policy chooses among. A test checks that its class has the same.
OVER: dict[Policy, frozenset[str]] = {
    "selekt": frozenset({"delta"}),
    "half": frozenset({"delta"}),
    "cola": frozenset({"lora", "rslora"}),
    "increlora": frozenset({"lora", "rslora"}),
}
#: Fields that only some policies use, by the names of these.
USED_BY: dict[str, frozenset[Policy]] = {
    "density": frozenset({"selekt"}),
    "every": frozenset({"selekt", "cola", "increlora"}),
    "scope": frozenset({"selekt"}),
    "first_rank": frozenset({"increlora"}),
    "mean_rank": frozenset({"increlora"}),
    "grow": frozenset({"increlora"}),
}


class SparseSettings(Frozen):
    """Which part of the weights' changes is trained, and which is kept."""

    kind: Policy = "selekt"
    """`selekt` keeps the largest changes (arXiv 2503.03656); `half` trains half of each block's matrices, and
    another half in the next training (arXiv 2404.18466); `cola` merges a low-rank adapter into the base at
    intervals and starts another (arXiv 2401.04151); `increlora` gives the most important layers one rank more
    at intervals (arXiv 2308.12043)."""
    density: float = Field(default=0.05, gt=0, le=1)
    """Share of all entries that keep their change, with `selekt`."""
    every: int = Field(default=50, ge=1)
    """Optimizer steps between two selections (`selekt`), merges (`cola`) or allocations (`increlora`)."""
    scope: Literal["global", "tensor"] = "global"
    """Whether `selekt` takes the largest changes of all layers together (`global`) or of each (`tensor`)."""

    first_rank: int = Field(default=1, ge=1)
    """Rank of every layer in the first steps of `increlora`."""
    mean_rank: int = Field(default=8, ge=1)
    """Rank that the layers have on average when `increlora` ends; `adapter.rank` is the most of a layer."""
    grow: int = Field(default=8, ge=1)
    """Layers that `increlora` gives one rank more at a time."""

    @model_validator(mode="after")
    def _used(self) -> Self:
        fields = type(self).model_fields
        for name in (name for name in USED_BY if getattr(self, name) != fields[name].default):
            if self.kind not in USED_BY[name]:
                takers = ", ".join(sorted(USED_BY[name]))
                raise ValueError(f"kind {self.kind!r} has no {name} (it is for {takers}): remove it")
        return self

    def projection(self, seed: int) -> Projection:
        """Make the policy. ``seed``: seed of its random choices."""
        from .policy_table import POLICIES

        return POLICIES[self.kind].of(self, seed)
