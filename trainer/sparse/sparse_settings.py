"""Settings of sparse training in a pipeline file. Imports no torch, since plans need these settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from ...contracts.frozen import Frozen

if TYPE_CHECKING:
    from .projection import Projection


#: The names that ``trainer/sparse/policy_table.py`` maps to classes. A test checks that both agree.
Policy = Literal[
    "selekt",
    "half",
    "lisa",
    "owlore",
    "ist",
    "cola",
    "increlora",
    "lift",
    "lt_sft",
    "gift_sw",
    "spiel",
    "pv",
    "graft",
]
#: The kinds of adapter that a policy chooses among. A test checks that its class has the same.
OVER: dict[Policy, frozenset[str]] = {
    "selekt": frozenset({"delta"}),
    "half": frozenset({"delta"}),
    "lisa": frozenset({"delta"}),
    "owlore": frozenset({"delta"}),
    "ist": frozenset({"lora", "rslora", "dora"}),
    "cola": frozenset({"lora", "rslora"}),
    "increlora": frozenset({"lora", "rslora"}),
    "lift": frozenset({"delta"}),
    "lt_sft": frozenset({"delta"}),
    "gift_sw": frozenset({"delta"}),
    "spiel": frozenset({"delta"}),
    "pv": frozenset({"pv"}),
    "graft": frozenset({"delta"}),
}
#: Policies that freeze whole blocks in turn. Embeddings, norms and head may be trained beside them.
OF_BLOCKS: frozenset[Policy] = frozenset({"lisa", "owlore", "ist"})
#: Policies that train the entries of a mask: the others must not change.
MASKED: frozenset[Policy] = frozenset({"lift", "lt_sft", "gift_sw", "spiel", "graft"})
#: Policies whose trained values are not only those of parameters, or are only final after the last step.
TO_THE_END: frozenset[Policy] = frozenset({"selekt", "lt_sft", "graft", "pv"})
#: Fields that only some policies use, by the names of these.
USED_BY: dict[str, frozenset[Policy]] = {
    "density": frozenset({"selekt", "lift", "lt_sft", "gift_sw", "spiel", "pv", "graft"}),
    "every": OF_BLOCKS | frozenset[Policy](("selekt", "lift", "spiel", "cola", "increlora", "pv")),
    "scope": frozenset({"selekt", "lt_sft"}),
    "blocks": OF_BLOCKS,
    "outlier_factor": frozenset({"owlore"}),
    "ist_trials": frozenset({"ist"}),
    "ist_damping": frozenset({"ist"}),
    "ist_rate": frozenset({"ist"}),
    "first_rank": frozenset({"increlora"}),
    "mean_rank": frozenset({"increlora"}),
    "grow": frozenset({"increlora"}),
    "lift_rank": frozenset({"lift"}),
    "lift_iterations": frozenset({"lift"}),
    "lt_sft_dense": frozenset({"lt_sft"}),
    "gift_bits": frozenset({"gift_sw"}),
    "spiel_regrow": frozenset({"spiel"}),
    "spiel_accumulate": frozenset({"spiel"}),
    "graft_rate": frozenset({"graft"}),
}


class SparseSettings(Frozen):
    """Which part of the weights' changes is trained, and which is kept."""

    kind: Policy = "selekt"
    """`selekt` keeps the largest changes (arXiv 2503.03656); `half` trains half of each block's matrices, and
    another half in the next training (arXiv 2404.18466); `lisa` trains a few random blocks at a time (arXiv
    2403.17919); `owlore` those with more outliers more often, with `optimizer: galore` (arXiv 2405.18380);
    `ist` the adapters of the blocks that matter most to the loss (arXiv 2410.11772); `cola` merges a low-rank
    adapter into the base at intervals and starts another (arXiv 2401.04151); `increlora` gives the most
    important layers one rank more at intervals (arXiv 2308.12043); `lift` trains the largest
    entries of a low-rank approximation of each weight (arXiv 2506.00772); `lt_sft` trains densely, then again
    only what changed the most (arXiv 2110.07560); `gift_sw` trains the salient columns, with noise on the
    others (arXiv 2408.15300); `spiel` trains a set of entries that it replaces at intervals (arXiv
    2401.16405); `pv` moves codes of a quantized weight at intervals (arXiv 2405.14852); `graft` finds the few
    changes of a finished training that matter (arXiv 2302.06600)."""
    density: float = Field(default=0.05, gt=0, le=1)
    """Share of all entries that keep their change (`selekt`, `graft`) or are trained; of columns with
    `gift_sw`; of codes that may change at a time with `pv`, for which it is 0.01 by default."""
    every: int = Field(default=50, ge=1)
    """Optimizer steps between two selections (`selekt`, `lift`, `spiel`), draws of blocks (`lisa`, `owlore`),
    measurements of their importance (`ist`), merges (`cola`), allocations (`increlora`) or changes of codes
    (`pv`)."""
    scope: Literal["global", "tensor"] = "global"
    """Whether the largest changes of all layers together are taken (`global`) or of each (`tensor`)."""
    blocks: int = Field(default=2, ge=1)
    """Blocks that are trained at a time, with `lisa`, `owlore` and `ist`."""
    outlier_factor: float = Field(default=13.0, gt=0)
    """What makes a weight an outlier, with `owlore`: a product of its magnitude and the norm of its input of
    more than this times the mean product in its block."""
    ist_trials: int = Field(default=3, ge=2)
    """Losses that each measurement of `ist` compares."""
    ist_damping: float = Field(default=0.25, ge=0, lt=1)
    """Factor of the adapters of all other blocks in a measurement of `ist`."""
    ist_rate: float = Field(default=10.0, gt=0)
    """How much the importance of blocks changes by a measurement of `ist`, per difference of exp(-loss)."""

    first_rank: int = Field(default=1, ge=1)
    """Rank of every layer in the first steps of `increlora`."""
    mean_rank: int = Field(default=8, ge=1)
    """Rank that the layers have on average when `increlora` ends; `adapter.rank` is the most of a layer."""
    grow: int = Field(default=8, ge=1)
    """Layers that `increlora` gives one rank more at a time."""
    lift_rank: int = Field(default=128, ge=1)
    """Rank of the approximation in `lift`."""
    lift_iterations: int | None = Field(default=4, ge=0)
    """Iterations of the randomized singular value decomposition in `lift`; null for the exact one, which is
    slower."""
    lt_sft_dense: float = Field(default=0.5, gt=0, lt=1)
    """Share of the steps that `lt_sft` trains densely."""
    gift_bits: int = Field(default=4, ge=2, le=8)
    """Bits of the quantization that `gift_sw` measures columns by and whose error its noise resembles."""
    spiel_regrow: float = Field(default=0.3, gt=0, le=1)
    """Share of the entries that `spiel` replaces. It falls linearly to 0 over the training."""
    spiel_accumulate: int = Field(default=5, ge=1)
    """Last steps before a replacement in which `spiel` sums gradients; at most `every`."""

    graft_rate: float = Field(default=1.0, gt=0)
    """How far the logit of the largest gradient moves in each step of `graft`. Logits start at 4 and -4."""

    @model_validator(mode="before")
    @classmethod
    def _density_of_codes(cls, given: Any) -> Any:
        """A code moves by a whole level, so `pv` moves fewer at a time than other policies train entries."""
        return {"density": 0.01, **given} if isinstance(given, dict) and given.get("kind") == "pv" else given

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
