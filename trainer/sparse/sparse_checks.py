"""Which options of a training go with a ``sparse`` policy: its own, or that of an earlier training.

Imports no torch, since plans check them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .sparse_settings import MASKED, OF_BLOCKS, OVER, TO_THE_END, SparseSettings

if TYPE_CHECKING:
    from ..settings import TrainSettings


def check_sparse(step: TrainSettings) -> None:
    """Raise ValueError for options that do not go with the policy, with the reason."""
    if step.sparse is None:
        return
    kind = step.sparse.kind
    if step.adapter.kind not in OVER[kind]:
        kinds = " or ".join(sorted(OVER[kind]))
        raise ValueError(
            f"sparse {kind!r} needs an adapter of kind {kinds}, but this adapter is of kind "
            f"{step.adapter.kind!r}: give adapter: {{kind: {kinds}}}, or remove sparse"
        )
    if kind == "increlora":
        _check_increlora(step, step.sparse)
    if kind == "cola":
        _check_cola(step)
    if kind == "half" and step.carry_optimizer:
        raise ValueError(
            "sparse 'half' trains other matrices in the next training, which has no use for the moments of "
            "these: give carry_optimizer: false"
        )
    if kind not in OF_BLOCKS and step.parts():
        raise ValueError(
            f"sparse chooses among the changes of linear layers, so train_{step.parts()[0]} cannot be "
            "given beside it: remove one of them"
        )
    if kind in MASKED and step.weight_decay:
        raise ValueError(
            f"weight_decay would change the entries that sparse {kind!r} does not train: remove it"
        )
    if kind in TO_THE_END and (step.keep_best or step.patience is not None):
        raise ValueError(
            f"sparse {kind!r} needs all steps, since its weights are final only at the end: remove "
            "keep_best and patience"
        )


def why_not_the_chain(asked: TrainSettings, earlier: TrainSettings) -> str | None:
    """Return why ``asked`` cannot go on from a chain that ``earlier`` saved, and the fix; None if it can."""
    chained = earlier.sparse is not None and earlier.sparse.kind == "cola"
    if not chained or asked.adapter.rank != earlier.adapter.rank:  # else it may be the rank of the chain
        return None
    return (
        "sparse 'cola' saves all links of its chain side by side, as one adapter of the sum of their ranks: "
        "merge the student in a step and name that"
    )


def _check_increlora(step: TrainSettings, sparse: SparseSettings) -> None:
    mean_rank = sparse.mean_rank
    if sparse.first_rank > mean_rank:
        raise ValueError(
            f"sparse.first_rank is {sparse.first_rank}, but the layers end with mean_rank, {mean_rank}, on "
            "average: give a smaller first_rank, or a larger mean_rank"
        )
    if mean_rank > step.adapter.rank:
        raise ValueError(
            f"sparse.mean_rank is {mean_rank}, but a layer has at most adapter.rank, "
            f"{step.adapter.rank}: give a larger adapter.rank, or a smaller mean_rank"
        )
    if step.adapter.init != "default":
        raise ValueError("sparse 'increlora' adds ranks that start with B = 0: remove adapter.init")


def _check_cola(step: TrainSettings) -> None:
    reasons = {
        f"quantize: {step.quantize}, in which a merged change is lost: give quantize: none": (
            step.quantize != "none"
        ),
        f"adapter.init: {step.adapter.init}, since each link starts with B = 0: remove it": (
            step.adapter.init != "default"
        ),
        "keep_best, since the base changes too: remove it": step.keep_best,
        "adapter.freeze_a, since each link draws A again: remove it": step.adapter.freeze_a,
    }
    for reason in (reason for reason, wrong in reasons.items() if wrong):
        raise ValueError(f"sparse 'cola' does not work with {reason}")
