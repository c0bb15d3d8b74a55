"""Charts as SVG text: pure functions of their data. Colors come from the page's style sheet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, TypeAlias

from ...contracts.counting import counted
from .names import in_words
from .scale import Scale, number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..view.intervals import Interval

WIDTH, HEIGHT = 460, 220
#: Widths of a drawing that takes the whole width of the page, on a wide and on a narrow screen.
WIDE, NARROW = 940, 420
#: Characters of a name on a narrow drawing.
LONGEST_NAME = 50
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 14, 34


def svg(title: str, body: Sequence[str], width: int = WIDTH, height: int = HEIGHT) -> str:
    """A drawing with an accessible name."""
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(body)}</svg>"
    )


def for_screens(draw: Callable[[int], str]) -> str:
    """What ``draw`` makes for both widths. The page shows the one that the screen has room for."""
    return f'<div class="on-wide">{draw(WIDE)}</div><div class="on-narrow">{draw(NARROW)}</div>'


def text(x: float, y: float, words: str, anchor: str = "middle", kind: str = "label") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def axes(x: Scale, y: Scale, unit: str) -> list[str]:
    """Grid lines with ticks, and the name of the horizontal axis."""
    parts = []
    for tick in y.ticks(4):
        parts.append(line(x.start, y(tick), x.stop, y(tick), "grid"))
        parts.append(text(x.start - 6, y(tick) + 4, number(tick), "end"))
    for tick in x.ticks(6):
        parts.append(text(x(tick), y.start + 15, number(tick)))
    parts.append(line(x.start, y.start, x.stop, y.start, "axis"))
    parts.append(text((x.start + x.stop) / 2, y.start + 30, unit, kind="unit"))
    return parts


def funnel_bar(counts: Mapping[str, int], largest: int) -> str:
    """One step's bar: kept, filtered and failed rows side by side; ``largest`` rows are the full width."""
    words = ", ".join(f"{rows:,} {fate}" for fate, rows in counts.items())
    scale = Scale(0, max(1, largest), 0, 600)
    parts, at = [], 0
    for fate, rows in counts.items():
        width = max(scale(rows), 1.5 if rows else 0)
        parts.append(f'<rect class="{fate}" x="{scale(at):.2f}" y="0" width="{width:.2f}" height="18"/>')
        at += rows
    return (
        f'<svg class="bar" viewBox="0 0 600 18" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(words)}"><title>{escape(words)}</title>{"".join(parts)}</svg>'
    )


def histogram(
    title: str, series: Mapping[str, NDArray[np.float64]], thresholds: Sequence[float] = (), bins: int = 32
) -> str:
    """Overlaid histograms, the first series the widest; each threshold is a line with its value.

    ``series``: name -> finite float64 ``(rows,)``, at least one of them not empty.
    """
    import numpy as np

    everything = np.concatenate([*series.values(), np.asarray(thresholds, np.float64)])
    edges = _edges(everything, bins)
    low, high = float(edges[0]), float(edges[-1])
    counts = {name: np.histogram(values, edges)[0] for name, values in series.items()}
    x = Scale(low, high, LEFT, WIDTH - RIGHT)
    y = Scale(
        0,
        max(1, *(int(each.max()) for each in counts.values())),
        HEIGHT - BOTTOM,
        TOP + (14 if thresholds else 0),
    )
    parts = axes(x, y, title)
    for index, each in enumerate(counts.values()):
        for start, stop, rows in zip(edges[:-1], edges[1:], each):
            if rows:
                parts.append(
                    f'<rect class="series{index}" x="{x(start) + 0.5:.1f}" y="{y(rows):.1f}" '
                    f'width="{max(0.5, x(stop) - x(start) - 1):.1f}" height="{y(0) - y(rows):.1f}">'
                    f"<title>{number(start)} to {number(stop)}: {counted(rows, 'row')}</title></rect>"
                )
    for value in thresholds:
        parts.append(line(x(value), y.start, x(value), y.stop - 14, "threshold"))
        nearly_right = x(value) > WIDTH * 0.8
        parts.append(
            text(
                x(value) + (-4 if nearly_right else 4),
                y.stop - 6,
                f"cut {number(value)}",
                "end" if nearly_right else "start",
                "threshold-label",
            )
        )
    return svg(f"Histogram of {title}", parts)


def _edges(values: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """The edges of the bins; for integers they lie between the values, so that no value falls on an edge."""
    import numpy as np

    low, high = float(values.min()), float(values.max())
    if np.all(values == np.round(values)):
        width = max(1, int(np.ceil((high - low + 1) / bins)))
        return np.arange(low - 0.5, high + width + 0.5, width, dtype=np.float64)
    return np.linspace(low, high, bins + 1) if low < high else np.array([low - 0.5, high + 0.5])


#: The points of a line: float64 ``(points,)`` each.
Points: TypeAlias = "tuple[NDArray[np.float64], NDArray[np.float64]]"


def curve(
    title: str, points: Points, unit: str, beside: tuple[str, Points] | None = None, width: int = WIDE
) -> str:
    """A line over its running mean (of a twentieth of the points).

    ``beside``: the name and the points of a second line, each with a dot. Points that are not finite are left
    out.
    """
    import numpy as np

    xs, ys = _finite(points)
    name, others = ("", (xs[:0], ys[:0])) if beside is None else (beside[0], _finite(beside[1]))
    if len(xs) == 0:
        return svg(title, [text(width / 2, HEIGHT / 2, "nothing was recorded")], width)
    along, up = np.concatenate([xs, others[0]]), np.concatenate([ys, others[1]])
    x = Scale(float(along.min()), float(along.max()), LEFT, width - RIGHT)
    y = Scale(
        float(min(up.min(), 0 if up.min() < 1 else up.min() * 0.95)), float(up.max()), HEIGHT - BOTTOM, TOP
    )
    span = max(1, len(ys) // 20)
    total = np.cumsum(np.concatenate([[0.0], ys]))
    stops = np.arange(1, len(ys) + 1)
    smooth = (total[stops] - total[np.maximum(0, stops - span)]) / np.minimum(stops, span)
    parts = axes(x, y, unit)
    parts.append(_path(x, y, xs, ys, "raw" if span > 1 else "smooth"))
    if span > 1:
        parts.append(_path(x, y, xs, smooth, "smooth"))
    said = f"last {ys[-1]:.4g}"
    if len(others[0]):
        parts.append(_path(x, y, *others, "beside"))
        parts += [
            f'<circle class="beside" cx="{x(a):.1f}" cy="{y(b):.1f}" r="3"><title>{escape(name)} {b:.4g}'
            "</title></circle>"
            for a, b in zip(*others)
        ]
        said += f", {name} {others[1][-1]:.4g}"
    parts.append(text(width - RIGHT, TOP - 9, said, "end"))
    return svg(title, parts, width)


def _finite(points: Points) -> Points:
    import numpy as np

    xs, ys = points
    good = np.isfinite(xs) & np.isfinite(ys)
    return xs[good], ys[good]


def _path(x: Scale, y: Scale, xs: NDArray[np.float64], ys: NDArray[np.float64], kind: str) -> str:
    points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in zip(xs, ys))
    return f'<polyline class="{kind}" points="{points}"/>'


def whiskers(title: str, rows: Sequence[Interval], width: int = WIDE) -> str:
    """Dots with their intervals, one per row, and the zero line if it is inside or near the range.

    On a narrow drawing, the name and the figures of a row stand above its interval.
    """
    low, high = min(row.low for row in rows), max(row.high for row in rows)
    low, high = min(low, 0.0), max(high, 0.0)
    pad = (high - low) * 0.06 or 0.5
    stacked = width < WIDE
    each, above = (64, 36) if stacked else (34, 0)
    start, stop = (RIGHT, width - RIGHT) if stacked else (250, width - 205)
    height = 46 + each * len(rows)
    x = Scale(low - pad, high + pad, start, stop)
    y_axis = height - BOTTOM
    ticks = x.ticks(4 if stacked else 8)
    parts = [line(x(tick), TOP, x(tick), y_axis, "grid") for tick in ticks]
    parts += [text(x(tick), y_axis + 15, number(tick)) for tick in ticks]
    parts.append(line(x(0), TOP - 4, x(0), y_axis, "zero"))
    for index, row in enumerate(rows):
        y = TOP + (10 if stacked else 18) + above + each * index
        kind = "above" if row.low > 0 else "below" if row.high < 0 else "open"
        name = in_words(row.name)
        if stacked:
            short = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
            parts += [
                text(start, y - 30, short, "start", "name"),
                text(start, y - 12, str(row), "start", "name"),
            ]
        else:
            parts += [
                text(start - 14, y + 4, name, "end", "name"),
                text(stop + 15, y + 4, str(row), "start", "name"),
            ]
        parts.append(line(x(row.low), y, x(row.high), y, f"whisker {kind}"))
        parts += [line(x(end), y - 6, x(end), y + 6, f"whisker {kind}") for end in (row.low, row.high)]
        parts.append(f'<circle class="dot {kind}" cx="{x(row.mean):.1f}" cy="{y}" r="5"/>')
    return svg(title, parts, width, height)
