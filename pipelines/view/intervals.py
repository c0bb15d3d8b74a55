"""Finds the means with confidence intervals in a step's summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its confidence interval (both ends in the mean's own unit).

    ``before`` and ``after``: the two scores, if the mean is that of a paired difference.
    """

    name: str
    mean: float
    low: float
    high: float
    before: float | None = None
    after: float | None = None

    @property
    def difference(self) -> bool:
        return self.name.rpartition(".")[2].startswith(("gain", "difference"))

    def __str__(self) -> str:
        """``0.512 [0.480, 0.544]``; a difference with its sign."""
        sign = "+" if self.difference else ""
        return f"{self.mean:{sign}.3f} [{self.low:{sign}.3f}, {self.high:{sign}.3f}]"


def intervals(summary: Mapping[str, Any], prefix: str = "") -> Iterator[Interval]:
    """Every mapping below ``summary`` that has ``mean``, ``ci_low`` and ``ci_high``, by dotted name.

    One that names its ``metric`` also gets the scores for it of the two models that it names as ``over`` and
    ``of`` (by default ``against`` and ``model``).
    """
    for key, value in summary.items():
        if not isinstance(value, Mapping):
            continue
        name = f"{prefix}{key}"
        mean, low, high = (_figure(value, part) for part in ("mean", "ci_low", "ci_high"))
        if mean is None or low is None or high is None:
            yield from intervals(value, f"{name}.")
        else:
            sides = (value.get("over", "against"), value.get("of", "model"))
            before, after = (_figure(summary.get(side), value.get("metric")) for side in sides)
            yield Interval(name, mean, low, high, before, after)


def _figure(mapping: object, key: object) -> float | None:
    value = mapping.get(key) if isinstance(mapping, Mapping) else None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
