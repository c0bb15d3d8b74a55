"""With which options a model can be sharded. Imports no torch, since plans check them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .sparse.sparse_settings import MASKED, OF_BLOCKS

if TYPE_CHECKING:
    from .settings import TrainSettings


def why_not_sharded(step: TrainSettings) -> str | None:
    """Return the option, if any, with which the model cannot be sharded, and why."""
    if step.activations == "offload":
        return "activations: offload"
    if step.sparse is not None and step.sparse.kind in (*MASKED, "selekt"):
        return f"sparse: {{kind: {step.sparse.kind}}}, which compares all weights"
    if step.sparse is not None and step.sparse.kind in OF_BLOCKS:
        return f"sparse: {{kind: {step.sparse.kind}}}, which freezes other blocks from time to time"
    if step.optimizer == "galore":
        return "optimizer: galore, which decomposes whole gradients"
    if step.optimizer == "paged_adamw":
        return "optimizer: paged_adamw, whose states are of one process"
    if step.optimizer == "mezo":
        return "optimizer: mezo, which perturbs whole weights"
    if step.adapter.kind in ("qft", "pv"):
        return f"adapter: {{kind: {step.adapter.kind}}}, whose codes are not parameters"
    if step.adapter.kind == "welore":
        return "adapter: {kind: welore}, whose factors have taken the place of weights"
    if step.sparse is not None and step.sparse.kind == "cola":
        return "sparse: {kind: cola}, which changes the base"
    if step.adapter.kind == "delta" and step.optimizer == "adamw8bit":
        return "optimizer: adamw8bit over deltas, whose blocks of 256 weights lie in several processes"
    if step.adapter.kind == "delta" and step.carry_optimizer:
        return "carry_optimizer over deltas, whose states lie in several processes"
    return None
