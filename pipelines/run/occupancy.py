"""Engine occupancy: the share of a model's slots that were busy over time.

An engine's slots are the requests that it decodes together (``max_num_seqs``, or the maximum number of
concurrent requests to a server). A request is in flight from when its engine accepts it (or from its call)
until it is answered. If more requests are in flight than there are slots, all slots are busy. The engine only
has to report when each request ended.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: When a request was in flight: (start, end), seconds since the epoch.
Span = tuple[float, float]


class Spans:
    """The spans of many requests, 16 bytes per span."""

    def __init__(self) -> None:
        self.starts = array("d")
        self.ends = array("d")

    def __len__(self) -> int:
        return len(self.starts)

    def add(self, spans: Iterable[Span]) -> None:
        for start, end in spans:
            self.starts.append(start)
            self.ends.append(end)

    def covered(self) -> float:
        """Seconds in which at least one of the spans was open."""
        total = last = 0.0
        for start, end in sorted(zip(self.starts, self.ends, strict=True)):
            total += max(0.0, end - max(start, last))
            last = max(last, end)
        return total


@dataclass(frozen=True, slots=True)
class Occupancy:
    """The occupancy of one model's engine in one stage. ``steps``: the steps that used it.

    ``busy``: the mean share of busy slots from the first request to the last answer. ``steady``: the same in
    the steady state, which begins when all slots are busy for the first time (or with the first request, if
    they never are) and ends when the last micro-batch is submitted; None if there is no steady state.
    ``in_flight``: the mean number of requests in flight in the steady state (or over the whole time, without
    one).
    """

    model: str
    steps: tuple[str, ...]
    slots: int
    requests: int
    busy: float
    seconds: float
    steady: float | None
    steady_seconds: float
    in_flight: float


def measure(model: str, steps: Iterable[str], spans: Spans, slots: int, full_until: float) -> Occupancy:
    """Occupancy from at least one span.

    ``full_until``: when the last micro-batch was submitted (epoch seconds).
    """
    import numpy as np

    starts, ends = np.asarray(spans.starts), np.asarray(spans.ends)
    times = np.concatenate([starts, ends])
    order = np.argsort(times, kind="stable")
    times = times[order]
    # level[i]: requests in flight from times[i] to times[i + 1].
    level = np.cumsum(np.where(order < len(starts), 1, -1))[:-1]

    def mean(values: Any, begin: float, end: float) -> float:
        edges = np.clip(times, begin, end)
        return float((values * np.diff(edges)).sum() / (end - begin)) if end > begin else 0.0

    first, last = float(times[0]), float(times[-1])
    busy = np.minimum(level, slots) / slots
    # Intervals of length zero do not count: one request may start at the instant that another ends.
    full = np.flatnonzero((level >= slots) & (np.diff(times) > 0))
    begin, end = float(times[full[0]]) if len(full) else first, min(full_until, last)
    steady = end > begin
    return Occupancy(
        model=model,
        steps=tuple(steps),
        slots=slots,
        requests=len(spans),
        busy=round(mean(busy, first, last), 4),
        seconds=round(last - first, 3),
        steady=round(mean(busy, begin, end), 4) if steady else None,
        steady_seconds=round(end - begin, 3) if steady else 0.0,
        in_flight=round(mean(level, begin, end) if steady else mean(level, first, last), 2),
    )


def told(figures: Mapping[str, Any]) -> str:
    """An Occupancy in one line: ``teacher: 93 % of 64 slots busy in the steady state, 88 % over all``."""
    whole = f"{figures['busy']:.0%}".replace("%", " %")
    if figures["steady"] is None:
        return f"{figures['model']}: {whole} of {figures['slots']} slots busy"
    steady = f"{figures['steady']:.0%}".replace("%", " %")
    return (
        f"{figures['model']}: {steady} of {figures['slots']} slots busy in the steady state, {whole} over all"
    )
