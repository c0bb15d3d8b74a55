"""Settings of MeZO in a pipeline file. Imports no torch, since plans need these settings."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ...contracts.frozen import Frozen

Entries = Literal["all", "small", "random"]
Estimate = Literal["difference", "forward"]
Rule = Literal["sgd", "sign", "momentum", "adam", "conservative"]


class MeZOSettings(Frozen):
    """How the weights are perturbed."""

    rule: Rule = "sgd"
    """What is done with the estimated gradient (ZO-Bench, arXiv 2402.11592): `sgd` subtracts it, `sign` its
    sign, `momentum` a sum in which older ones fade by the first of `betas`, `adam` the update of Adam;
    `conservative` tries the step of `sgd`, its opposite and none, and takes the one of the lowest loss, which
    takes three more passes."""
    estimate: Estimate = "difference"
    """How the slope along the noise is found: `difference`, from two losses; or `forward`, exactly, by one
    pass that carries the derivative along with the values (the forward gradient, arXiv 2202.08587 and
    2402.11592). Such a pass takes about twice the time and the memory of a plain one, and holds the noise."""
    epsilon: float = Field(default=1e-3, gt=0)
    """Size of the perturbation, in standard deviations of the noise."""
    entries: Entries = "all"
    """Entries that are perturbed and trained: `all`; `small`, the weights of the smallest magnitude in each
    matrix of the base (Sparse-MeZO, arXiv 2402.15751); `random` ones, drawn anew in each step (arXiv
    2402.11592)."""
    density: float = Field(default=0.25, gt=0, le=1)
    """Share of the entries that `small` and `random` take."""
    blockwise: bool = False
    """Perturb one block after the other, each with two losses of its own. A step takes as many times as many
    passes as the model has blocks."""
    first_order_blocks: int = Field(default=0, ge=0)
    """Last blocks that are trained by their gradients (gradient descent), with a backward pass through them
    alone."""

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.entries == "all" and self.density != type(self).model_fields["density"].default:
            raise ValueError("density needs entries: small or random: add it, or remove density")
        if self.estimate == "forward" and self.epsilon != type(self).model_fields["epsilon"].default:
            raise ValueError(
                "epsilon is the size of a difference, and estimate: forward is exact: remove one of them"
            )
        if self.first_order_blocks and self.rule != "sgd":
            raise ValueError(
                f"first_order_blocks are trained by gradient descent beside rule: sgd, not {self.rule}: "
                "remove one of them"
            )
        return self
