"""Which bases go with which adapters and initializations. Imports no torch, since plans check them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .adapters.adapter_names import CALIBRATED_INITS, DENSE_INITS, FACTOR_KINDS, Kind
from .model.quantization import OWN_PRODUCTS, Quantization

if TYPE_CHECKING:
    from .settings import TrainSettings

#: The formats of the base that a kind needs, and why.
NEEDED: dict[Kind, tuple[Quantization, ...]] = {
    "l4q": ("none",),
    "welore": ("none",),
    "qft": ("int8",),
    "pv": ("int2", "int4"),
}
REASONS: dict[Kind, str] = {
    "l4q": "quantizes the weight in every pass, so the base is the original one",
    "welore": "takes the ranks of the original weights",
    "qft": "trains the integers of the base, with one scale for each row",
    "pv": "trains the scales, zero points and codes of the base",
}
#: Kinds that are over quantized layers alone.
OVER_CODES: frozenset[Kind] = frozenset({"qft", "pv", "weak_columns"})
#: Kinds that read no dequantized weights. A test checks this against the kinds themselves.
UNREAD: frozenset[Kind] = frozenset({"qft", "pv", "welore"})
#: Formats whose groups do not go on in the next row, nor their scales.
ORDERED: tuple[Quantization, ...] = ("int2", "int4", "int8")


def check_base(step: TrainSettings) -> None:
    """Raise ValueError for a base that does not go with what is trained over it, with the reason."""
    _check_init(step)
    _check_cache(step)
    _check_products(step)
    _check_reordered(step)
    kind, formats = step.adapter.kind, NEEDED.get(step.adapter.kind)
    if formats is not None and step.quantize not in formats:
        raise ValueError(f"adapter kind {kind!r} {REASONS[kind]}: give quantize: {' or '.join(formats)}")
    if kind in OVER_CODES and step.quantize_skip:
        raise ValueError(
            f"adapter kind {kind!r} is for quantized layers alone, and quantize_skip leaves some as they "
            "are: remove it, and name the layers to train in adapter.targets"
        )
    if kind == "qft" and step.keep_best:
        raise ValueError("keep_best keeps parameters, and adapter kind 'qft' trains integers: remove it")


def _check_init(step: TrainSettings) -> None:
    init = step.adapter.init
    if init in DENSE_INITS and step.quantize != "none":
        raise ValueError(
            f"adapter.init {init!r} changes the base after it has seen the training data, so the base "
            f"cannot be quantized ({step.quantize}): give quantize: none, or another init"
        )
    if init in CALIBRATED_INITS and step.quantize == "none":
        raise ValueError(
            f"adapter.init {init!r} compensates for the quantization error, but the base is not "
            "quantized: give quantize: nf4, or another init"
        )


def _check_cache(step: TrainSettings) -> None:
    unread = step.quantize in ("none", *OWN_PRODUCTS)
    if step.cache_dequantized is True and (unread or step.adapter.kind in UNREAD):
        what = f"quantize: {step.quantize}" if unread else f"adapter kind {step.adapter.kind!r}"
        raise ValueError(
            f"cache_dequantized: true keeps dequantized weights, and a training with {what} reads none: "
            "remove it"
        )


def _check_reordered(step: TrainSettings) -> None:
    if step.adapter.init != "qeft":
        return
    if step.quantize not in ORDERED:
        raise ValueError(
            f"adapter.init 'qeft' reorders rows, on which {step.quantize} depends: give quantize: "
            f"{' or '.join(ORDERED)}, or init: owq"
        )
    if step.parts() or step.scored:
        what = f"train_{step.parts()[0]}" if step.parts() else "a reward model, which has a head"
        raise ValueError(f"adapter.init 'qeft' reorders the model, so it has no {what}: give init: owq")


def _check_products(step: TrainSettings) -> None:
    if step.quantize in OWN_PRODUCTS and step.adapter.kind not in FACTOR_KINDS:
        kinds = ", ".join(sorted(FACTOR_KINDS))
        raise ValueError(
            f"quantize: {step.quantize} computes products of its own, and adapter kind {step.adapter.kind!r} "
            f"needs the weight itself: give a kind of {kinds}, or another format"
        )
