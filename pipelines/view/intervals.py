"""Finds the measured means with their intervals in what a step reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its confidence interval (both ends in the mean's own unit)."""

    name: str
    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @property
    def signed(self) -> str:
        """With the sign shown: for differences."""
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def intervals(summary: Mapping[str, Any], prefix: str = "") -> Iterator[Interval]:
    """Every mapping below ``summary`` that has ``mean``, ``ci_low`` and ``ci_high``, by dotted name."""
    for key, value in summary.items():
        if not isinstance(value, Mapping):
            continue
        name = f"{prefix}{key}"
        figures = [value.get(part) for part in ("mean", "ci_low", "ci_high")]
        if all(isinstance(figure, (int, float)) for figure in figures):
            mean, low, high = (float(figure) for figure in figures if figure is not None)
            yield Interval(name, mean, low, high)
        else:
            yield from intervals(value, f"{name}.")
