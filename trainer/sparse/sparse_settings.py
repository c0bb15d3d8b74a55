"""Settings of sparse training in a pipeline file. Imports no torch, since plans need these settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from ...contracts.frozen import Frozen

if TYPE_CHECKING:
    from .projection import Projection


#: The names that ``trainer/sparse/policy_table.py`` maps to classes. A test checks that both agree.
Policy = Literal["selekt", "half"]
#: The kinds of adapter that a policy chooses among. A test checks that its class has the same.
OVER: dict[Policy, frozenset[str]] = {
    "selekt": frozenset({"delta"}),
    "half": frozenset({"delta"}),
}
#: Fields that only some policies use, by the names of these.
USED_BY: dict[str, frozenset[Policy]] = {
    "density": frozenset({"selekt"}),
    "every": frozenset({"selekt"}),
    "scope": frozenset({"selekt"}),
}


class SparseSettings(Frozen):
    """Which part of the weights' changes is trained, and which is kept."""

    kind: Policy = "selekt"
    """`selekt` keeps the largest changes (arXiv 2503.03656); `half` trains half of each block's matrices, and
    another half in the next training (arXiv 2404.18466)."""
    density: float = Field(default=0.05, gt=0, le=1)
    """Share of all entries that keep their change, with `selekt`."""
    every: int = Field(default=50, ge=1)
    """Optimizer steps between two selections, with `selekt`."""
    scope: Literal["global", "tensor"] = "global"
    """Whether `selekt` takes the largest changes of all layers together (`global`) or of each (`tensor`)."""

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
