"""One chart of growth, as SVG: seconds and peak memory by the number of rows, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT, GAP, LEFT, TOP = 420, 300, 90, 70, 50
COLORS = ("#1b6ca8", "#c0392b", "#7fb3d5", "#e59866", "#666666")


@dataclass(frozen=True)
class Series:
    """A line of the chart. ``points``: (rows, seconds, peak memory in MB)."""

    name: str
    points: Sequence[tuple[int, float, float]]


@dataclass(frozen=True)
class Axis:
    """A logarithmic axis from one power of ten to another, over ``length`` pixels."""

    low: int
    high: int
    length: int

    @classmethod
    def of(cls, values: Sequence[float], length: int) -> Axis:
        low, high = floor(log10(min(values))), ceil(log10(max(values)))
        return cls(low, max(high, low + 1), length)

    def place(self, value: float) -> float:
        return (log10(value) - self.low) / (self.high - self.low) * self.length

    def ticks(self) -> list[int]:
        return list(range(self.low, self.high + 1))


def chart(series: Sequence[Series], limit: float) -> str:
    """The chart as text. ``limit``: of memory, in MB, drawn as a line. At least one series has a point."""
    rows = Axis.of([point[0] for each in series for point in each.points], WIDTH)
    seconds = [max(point[1], 1e-3) for each in series for point in each.points]
    peaks = [point[2] for each in series for point in each.points]
    left = _panel(series, rows, Axis.of(seconds, HEIGHT), "seconds", lambda point: max(point[1], 1e-3))
    right = _panel(
        series, rows, Axis.of([*peaks, limit], HEIGHT), "peak memory, MB", lambda point: point[2], limit
    )
    legend = [
        f'<text x="{LEFT + number * 170}" y="20" fill="{_color(number)}">● {escape(each.name)}</text>'
        for number, each in enumerate(series)
    ]
    whole = 2 * (WIDTH + LEFT) + GAP
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {HEIGHT + TOP + 60}" '
            'font-family="sans-serif" font-size="12">',
            '<rect width="100%" height="100%" fill="white"/>',
            *legend,
            f'<g transform="translate({LEFT},{TOP})">{left}</g>',
            f'<g transform="translate({LEFT + WIDTH + GAP},{TOP})">{right}</g>',
            "</svg>\n",
        ]
    )


def _panel(
    series: Sequence[Series],
    rows: Axis,
    axis: Axis,
    title: str,
    value: Callable[[tuple[int, float, float]], float],
    limit: float | None = None,
) -> str:
    parts = [f'<text x="0" y="-8" font-weight="bold">{escape(title)}</text>']
    for power in rows.ticks():
        x = rows.place(10.0**power)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{HEIGHT}" stroke="#eeeeee"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT + 18}" text-anchor="middle">{10**power:,}</text>')
    for power in axis.ticks():
        y = HEIGHT - axis.place(10.0**power)
        parts.append(f'<line x1="0" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="-8" y="{y + 4:.1f}" text-anchor="end">{10.0**power:,g}</text>')
    if limit is not None:
        y = HEIGHT - axis.place(limit)
        parts.append(
            f'<line x1="0" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#c0392b" stroke-dasharray="5 4"/>'
            f'<text x="{WIDTH}" y="{y - 5:.1f}" text-anchor="end" fill="#c0392b">limit</text>'
        )
    for number, each in enumerate(series):
        color = _color(number)
        places = [(rows.place(point[0]), HEIGHT - axis.place(value(point))) for point in each.points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places]
    parts.append(f'<text x="{WIDTH}" y="{HEIGHT + 36}" text-anchor="end">rows</text>')
    return "".join(parts)


def _color(number: int) -> str:
    return COLORS[number % len(COLORS)]
