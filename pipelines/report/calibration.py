"""The reliability of calibrated confidences, before and after calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import charts
from .distributions import Figure
from .gather import RoundData
from .scale import Scale


def calibration_figures(data: RoundData) -> list[Figure]:
    """A reliability curve of each `calibrate` step, on its held-out rows."""
    found = []
    for step in data.of("calibrate"):
        after = step.summary.get("after")
        if after:
            found.append(Figure(_curve(step.name, after["bins"]), _caption(step.name, step.summary)))
    return found


def _caption(name: str, summary: Mapping[str, Any]) -> str:
    before = "; ".join(
        f"{score}{'' if each['scaled'] == 'no' else ' (scaled to 0..1)'} ECE {each['ece']:.3f}, "
        f"Brier {each['brier']:.3f}"
        for score, each in summary["before"].items()
    )
    after = summary["after"]
    return (
        f"{name}: {summary['held_out']:,} held-out labels. Before: {before}. "
        f"After ({summary['method']}): ECE {after['ece']:.3f}, Brier {after['brier']:.3f}"
    )


def _curve(name: str, bins: Sequence[Mapping[str, Any]]) -> str:
    """Share right with its interval by mean confidence, over the diagonal of perfect calibration."""
    x = Scale(0.0, 1.0, charts.LEFT, charts.WIDTH - charts.RIGHT)
    y = Scale(0.0, 1.0, charts.HEIGHT - charts.BOTTOM, charts.TOP)
    parts = charts.axes(x, y, "confidence")
    parts.append(charts.line(x(0), y(0), x(1), y(1), "zero"))
    for each in bins:
        at = x(each["confidence"])
        inside = each["ci_low"] <= each["confidence"] <= each["ci_high"]
        kind = "open" if inside else "below"
        parts.append(charts.line(at, y(each["ci_low"]), at, y(each["ci_high"]), f"whisker {kind}"))
        parts.append(
            f'<circle class="dot {kind}" cx="{at:.1f}" cy="{y(each["right"]):.1f}" r="4">'
            f"<title>{each['rows']:,} rows: confidence {each['confidence']:.3f}, "
            f"right {each['right']:.3f}</title></circle>"
        )
    return charts.svg(f"Reliability of {name}: share right by confidence", parts)
