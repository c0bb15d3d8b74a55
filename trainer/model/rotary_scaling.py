"""Rotary frequencies, and the methods that stretch them to longer contexts.

RoPE: Su et al., arXiv 2104.09864. Each method is a function and a row in ``SCALINGS``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .rotary import ORIGINAL, Rotary


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
        frequencies = self.short
        if self.long is not None and max(lengths, default=0) > self.boundary:
            over = torch.tensor([length > self.boundary for length in lengths], device=positions.device)
            counts = torch.tensor(list(lengths), device=positions.device)
            frequencies = torch.where(over.repeat_interleave(counts)[:, None], self.long, self.short)
        angles = positions[:, None].float() * frequencies
        return (angles.cos() * self.factor).to(dtype), (angles.sin() * self.factor).to(dtype)


def frequencies(rotary: Rotary) -> Frequencies:
    """Compute the frequencies of a rotary embedding."""
    return SCALINGS[rotary.kind](rotary, _plain(rotary))


def _plain(rotary: Rotary) -> Tensor:
    exponents = torch.arange(0, rotary.size, 2, dtype=torch.int64).float() / rotary.size
    return torch.pow(rotary.theta, exponents).reciprocal()


def _unscaled(rotary: Rotary, plain: Tensor) -> Frequencies:
    return Frequencies(plain)


def _linear(rotary: Rotary, plain: Tensor) -> Frequencies:
    """Position interpolation (Chen et al., arXiv 2306.15595)."""
    return Frequencies(plain / float(rotary.settings["factor"]))


def _llama3(rotary: Rotary, plain: Tensor) -> Frequencies:
    """Apply Llama 3.1's frequency scaling (arXiv 2407.21783).

    Low frequencies are divided by ``factor``, high ones are kept, and those between are interpolated.
    """
    turns = _original(rotary) * plain / (2 * math.pi)
    low, high, factor = (
        float(rotary.settings[name]) for name in ("low_freq_factor", "high_freq_factor", "factor")
    )
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return Frequencies(kept * plain + (1 - kept) * plain / factor)


def _yarn(rotary: Rotary, plain: Tensor) -> Frequencies:
    """Apply YaRN (Peng et al., arXiv 2309.00071).

    Pairs of values that turn more than ``beta_fast`` times in the original context are kept, those that turn
    less than ``beta_slow`` times are divided by ``factor``, and those between are interpolated.
    """
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
    scaled = kept * plain + (1 - kept) * plain / factor
    return Frequencies(scaled, _yarn_attention(settings, factor))


def _yarn_attention(settings: Mapping[str, Any], factor: float) -> float:
    def growth(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1 if factor > 1 else 1.0

    if settings.get("attention_factor") is not None:
        return float(settings["attention_factor"])
    if settings.get("mscale") and settings.get("mscale_all_dim"):
        return growth(settings["mscale"]) / growth(settings["mscale_all_dim"])
    return growth(1.0)


def _longrope(rotary: Rotary, plain: Tensor) -> Frequencies:
    """Apply LongRoPE (Ding et al., arXiv 2402.13753).

    Each frequency is divided by its own factor: another one in sequences that exceed the original context.
    """
    settings, original = rotary.settings, _original(rotary)
    factor = float(settings.get("factor") or rotary.positions / original)
    attention = settings.get("attention_factor")
    if attention is None:
        attention = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    short, long = (
        plain / torch.tensor(settings[name], dtype=torch.float32) for name in ("short_factor", "long_factor")
    )
    return Frequencies(short, float(attention), long, int(original))


def _original(rotary: Rotary) -> float:
    return float(rotary.settings.get(ORIGINAL) or rotary.positions)


#: A test checks that these are the scalings of :data:`.rotary.SETTINGS`.
SCALINGS: dict[str, Callable[[Rotary, Tensor], Frequencies]] = {
    "default": _unscaled,
    "linear": _linear,
    "llama3": _llama3,
    "dynamic": _unscaled,
    "yarn": _yarn,
    "longrope": _longrope,
}
