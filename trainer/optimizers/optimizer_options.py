"""Which options of a training go with its optimizer. Imports no torch, since plans check them."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from ..adapters.adapter_names import Kind
from ..model.quantization import OWN_PRODUCTS
from .optimizer_names import OptimizerName

#: Kinds of adapters whose slope in forward mode is that of their gradient. DoRA's gradient leaves the norms'
#: part out.
FORWARD_KINDS: frozenset[Kind] = frozenset({"lora", "rslora", "delta", "svft", "bottleneck", "prefix", "mam"})
#: Why a paged optimizer does not train on a CPU.
ON_GPU = (
    "pages its states between a CUDA GPU and the host's memory, and this training is on a CPU: give "
    "optimizer: adamw, or adamw8bit, which has a quarter of the state"
)

if TYPE_CHECKING:
    from ..settings import TrainSettings


def check_options(step: TrainSettings) -> None:
    """Raise ValueError for options that do not go with the optimizer, with the reason."""
    for name in get_args(OptimizerName):
        fields = type(step).model_fields
        if name != step.optimizer and name in fields and getattr(step, name) != fields[name].default:
            raise ValueError(f"{name} has the options of optimizer: {name}; add that, or remove them")
    if step.optimizer == "galore":
        _check_galore(step)
    elif step.sparse is not None and step.sparse.kind == "owlore":
        raise ValueError("sparse 'owlore' trains with gradients of low rank: add optimizer: galore")
    if (step.optimizer == "qft") != (step.adapter.kind == "qft"):
        raise ValueError("optimizer: qft and adapter: {kind: qft} belong together: give both, or neither")
    if step.optimizer == "mezo":
        _check_mezo(step)
    if step.optimizer == "paged_adamw" and step.device == "cpu":
        raise ValueError(f"optimizer: paged_adamw {ON_GPU}")
    if step.optimizer == "paged_adamw" and step.sparse is not None:
        raise ValueError(
            "optimizer: paged_adamw has states in memory that is not freed before the training ends, and "
            f"sparse {step.sparse.kind!r} changes them or drops them meanwhile: remove sparse, or give "
            "optimizer: adamw"
        )


def _check_galore(step: TrainSettings) -> None:
    kind = None if step.sparse is None else step.sparse.kind
    if step.adapter.kind != "delta":
        raise ValueError(
            f"optimizer: galore is for the weights themselves, not for an adapter of kind "
            f"{step.adapter.kind!r}: give adapter: {{kind: delta}}, or another optimizer"
        )
    if kind not in (None, "half", "lisa", "owlore"):
        raise ValueError(
            f"sparse {kind!r} works on single weights, and optimizer: galore has moments of low rank: give "
            "another optimizer, or sparse: {kind: lisa}"
        )


def _check_mezo(step: TrainSettings) -> None:
    if step.sparse is not None:
        raise ValueError(
            "optimizer: mezo has no gradients for a policy to choose among: remove sparse, or give mezo: "
            "{entries: small}"
        )
    if step.betas is not None and step.mezo.rule not in ("momentum", "adam"):
        raise ValueError(
            f"betas are of mezo: {{rule: momentum}} and {{rule: adam}}, and rule: {step.mezo.rule} has no "
            "moments: remove betas, or give one of these rules"
        )
    if step.mezo.entries == "small" and step.adapter.kind != "delta":
        raise ValueError(
            "mezo: {entries: small} chooses among the base's weights: give adapter: {kind: delta}"
        )
    if step.mezo.estimate == "forward":
        if step.adapter.kind not in FORWARD_KINDS:
            raise ValueError(
                f"mezo: {{estimate: forward}} does not go through adapter kind {step.adapter.kind!r}: give "
                f"one of {', '.join(sorted(FORWARD_KINDS))}, or estimate: difference"
            )
        if step.quantize in OWN_PRODUCTS:
            raise ValueError(
                f"mezo: {{estimate: forward}} does not go through the products of quantize: {step.quantize}: "
                "give another format, or estimate: difference"
            )
