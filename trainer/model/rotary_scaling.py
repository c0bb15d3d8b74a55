"""Rotary frequencies, and the methods that stretch them to longer contexts.

RoPE: Su et al., arXiv 2104.09864. Each method is a function and a row in ``SCALINGS``. Settings are read
without torch, since plans check them too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .config_fields import ConfigFields

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Rotary:
    """One rotary embedding of a model.

    ``kind``: a row of ``SCALINGS``. ``theta``: its base. ``size``: the number of values of a head that it
    rotates. ``positions``: the longest sequence. ``settings``: those of the kind, as transformers names them.
    """

    kind: str
    theta: float
    size: int
    positions: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    def frequencies(self) -> Frequencies:
        return SCALINGS[self.kind].make(self, _plain(self))


@dataclass(frozen=True, slots=True)
class Frequencies:
    """Radians per position, one per pair of values: ``short``, float32 (size / 2,).

    ``long``: those of a sequence of more than ``boundary`` tokens, if they differ. ``factor``: multiplies
    cosines and sines.
    """

    short: Tensor
    factor: float = 1.0
    long: Tensor | None = None
    boundary: int = 0

    def to(self, device: torch.device) -> Frequencies:
        long = None if self.long is None else self.long.to(device)
        return Frequencies(self.short.to(device), self.factor, long, self.boundary)

    def tables(self, positions: Tensor, lengths: Sequence[int], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return cosines and sines, (tokens, size / 2), for packed sequences with these ``lengths``.

        ``positions``: int64 (tokens,), the place of each token in its sequence.
        """
        import torch

        frequencies = self.short
        if self.long is not None and max(lengths, default=0) > self.boundary:
            over = torch.tensor([length > self.boundary for length in lengths], device=positions.device)
            counts = torch.tensor(list(lengths), device=positions.device)
            frequencies = torch.where(over.repeat_interleave(counts)[:, None], self.long, self.short)
        angles = positions[:, None].float() * frequencies
        return (angles.cos() * self.factor).to(dtype), (angles.sin() * self.factor).to(dtype)


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
    supported = tuple(SCALINGS if kinds is None else kinds)
    if kind not in supported:
        raise fields.refusal("rotary scaling", kind, supported)
    known = {"rope_type", "type", "rope_theta", "partial_rotary_factor", *SCALINGS[kind].settings}
    for name, value in given.items():
        if name not in known | IDLE and value is not None:
            raise fields.refusal(f"rotary setting {name}", value, tuple(sorted(known)))
    for name in SCALINGS[kind].needs:
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
        settings={name: given[name] for name in SCALINGS[kind].settings if given.get(name) is not None},
    )


def _plain(rotary: Rotary) -> Tensor:
    import torch

    exponents = torch.arange(0, rotary.size, 2, dtype=torch.int64).float() / rotary.size
    return torch.pow(rotary.theta, exponents).reciprocal()


def _unscaled(rotary: Rotary, frequencies: Tensor) -> Frequencies:
    return Frequencies(frequencies)


def _linear(rotary: Rotary, frequencies: Tensor) -> Frequencies:
    """Position interpolation (Chen et al., arXiv 2306.15595)."""
    return Frequencies(frequencies / float(rotary.settings["factor"]))


def _llama3(rotary: Rotary, frequencies: Tensor) -> Frequencies:
    """Apply Llama 3.1's frequency scaling (arXiv 2407.21783).

    Low frequencies are divided by ``factor``, high ones are kept, and those between are interpolated.
    """
    turns = _original(rotary) * frequencies / (2 * math.pi)
    low, high, factor = (
        float(rotary.settings[name]) for name in ("low_freq_factor", "high_freq_factor", "factor")
    )
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return Frequencies(kept * frequencies + (1 - kept) * frequencies / factor)


def _yarn(rotary: Rotary, frequencies: Tensor) -> Frequencies:
    """Apply YaRN (Peng et al., arXiv 2309.00071).

    Pairs of values that turn more than ``beta_fast`` times in the original context are kept, those that turn
    less than ``beta_slow`` times are divided by ``factor``, and those between are interpolated.
    """
    import torch

    settings, size = rotary.settings, rotary.size
    original, factor = _original(rotary), float(settings["factor"])

    def place(turns: float) -> float:
        return size * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(rotary.theta))

    low, high = place(settings.get("beta_fast") or 32), place(settings.get("beta_slow") or 1)
    if settings.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    ramp = (torch.arange(size // 2).float() - low) / (high - low if high != low else 0.001)
    kept = 1 - ramp.clamp(0, 1)
    scaled = kept * frequencies + (1 - kept) * frequencies / factor
    return Frequencies(scaled, _yarn_attention(settings, factor))


def _yarn_attention(settings: Mapping[str, Any], factor: float) -> float:
    def growth(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1 if factor > 1 else 1.0

    if settings.get("attention_factor") is not None:
        return float(settings["attention_factor"])
    if settings.get("mscale") and settings.get("mscale_all_dim"):
        return growth(settings["mscale"]) / growth(settings["mscale_all_dim"])
    return growth(1.0)


def _longrope(rotary: Rotary, frequencies: Tensor) -> Frequencies:
    """Apply LongRoPE (Ding et al., arXiv 2402.13753).

    Each frequency is divided by its own factor: another one in sequences that exceed the original context.
    """
    import torch

    settings, original = rotary.settings, _original(rotary)
    factor = float(settings.get("factor") or rotary.positions / original)
    attention = settings.get("attention_factor")
    if attention is None:
        attention = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    short, long = (
        frequencies / torch.tensor(settings[name], dtype=torch.float32)
        for name in ("short_factor", "long_factor")
    )
    return Frequencies(short, float(attention), long, int(original))


def _original(rotary: Rotary) -> float:
    return float(rotary.settings.get("original_max_position_embeddings") or rotary.positions)


@dataclass(frozen=True, slots=True)
class Scaling:
    """A method. ``settings``: the names that it reads. ``needs``: those without which it is refused."""

    make: Callable[[Rotary, Tensor], Frequencies]
    settings: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


ORIGINAL = "original_max_position_embeddings"
#: Settings that no method reads.
IDLE = frozenset({ORIGINAL, "finetuned"})
#: ``dynamic`` (NTK) changes nothing up to ``max_position_embeddings``; longer sequences are not trained on.
SCALINGS: dict[str, Scaling] = {
    "default": Scaling(_unscaled, ("factor",)),
    "linear": Scaling(_linear, ("factor",), ("factor",)),
    "llama3": Scaling(
        _llama3,
        ("factor", "low_freq_factor", "high_freq_factor", ORIGINAL),
        ("factor", "low_freq_factor", "high_freq_factor"),
    ),
    "dynamic": Scaling(_unscaled, ("factor",)),
    "yarn": Scaling(
        _yarn,
        (
            "factor",
            ORIGINAL,
            "attention_factor",
            "beta_fast",
            "beta_slow",
            "mscale",
            "mscale_all_dim",
            "truncate",
        ),
        ("factor",),
    ),
    "longrope": Scaling(
        _longrope,
        ("factor", ORIGINAL, "attention_factor", "short_factor", "long_factor"),
        ("short_factor", "long_factor"),
    ),
}
