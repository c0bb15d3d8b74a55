"""Settings of the rotary embeddings of a model, as its config gives them. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .config_fields import ConfigFields

ORIGINAL = "original_max_position_embeddings"
#: Settings that each scaling reads. ``dynamic`` (NTK) changes nothing up to ``max_position_embeddings``, and
#: longer sequences are not trained on.
SETTINGS: dict[str, tuple[str, ...]] = {
    "default": ("factor",),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", ORIGINAL),
    "dynamic": ("factor",),
    "yarn": (
        "factor", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate",
        ORIGINAL,
    ),
    "longrope": ("factor", "attention_factor", "short_factor", "long_factor", ORIGINAL),
}  # fmt: skip
#: Those without which a scaling is refused.
NEEDED: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "dynamic": (),
    "yarn": ("factor",),
    "longrope": ("short_factor", "long_factor"),
}
#: Settings that no scaling reads, or that only some do.
IDLE = frozenset({ORIGINAL, "finetuned"})


@dataclass(frozen=True, slots=True)
class Rotary:
    """One rotary embedding of a model.

    ``kind``: a row of ``SETTINGS``. ``theta``: its base. ``size``: the number of values of a head that it
    rotates. ``positions``: the longest sequence. ``settings``: those of the kind, as transformers names
    them; :mod:`.rotary_scaling` computes with them.
    """

    kind: str
    theta: float
    size: int
    positions: int
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_rotary(
    fields: ConfigFields,
    given: Mapping[str, Any],
    theta: float,
    *,
    head_size: int,
    positions: int,
    partial: bool = False,
    kinds: Sequence[str] | None = None,
) -> Rotary:
    """Read rotary settings from ``given``, a part of the config's fields.

    ``theta``: the base if ``given`` has none. ``partial``: whether the family may rotate a part of each head.
    ``kinds``: the scalings that the family may have; None for all. Raises ModelError for others, and for
    settings that are not supported.
    """
    kind = given.get("rope_type", given.get("type")) or "default"
    supported = tuple(SETTINGS if kinds is None else kinds)
    if kind not in supported:
        raise fields.refusal("rotary scaling", kind, supported)
    known = {"rope_type", "type", "rope_theta", "partial_rotary_factor", *SETTINGS[kind]}
    for name, value in given.items():
        if name not in known | IDLE and value is not None:
            raise fields.refusal(f"rotary setting {name}", value, tuple(sorted(known)))
    for name in NEEDED[kind]:
        if given.get(name) is None:
            raise fields.refusal(f"rotary setting {name}", None, ("a value",))
    share = given.get("partial_rotary_factor")
    if share not in (None, 1, 1.0) and not partial:
        raise fields.refusal("partial_rotary_factor", share, (1.0,))
    return Rotary(
        kind=kind,
        theta=float(given.get("rope_theta") or theta),
        size=int(head_size * (1.0 if share is None else share)),
        positions=positions,
        settings={name: given[name] for name in SETTINGS[kind] if given.get(name) is not None},
    )
