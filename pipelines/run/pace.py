"""How many micro-batches to keep in flight, learned from those that are done."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from math import ceil

#: Requests in flight for each slot of an engine: half as many again as it can batch, so that a slot is never free.
QUEUE = 1.5
#: The micro-batches that are looked back on.
WINDOW = 12


class Pace:
    """A micro-batch holds fewer requests in its engine than it has rows: it waits for the slowest of them, is verified
    in between, and loses rows on its way. How many it held on average while it was in flight is known when it is done;
    by Little's law the number of micro-batches in flight times this is the number of requests in flight.

    ``start``: the number to begin with, never gone below. ``most``: never gone beyond. ``slots``: of each model.
    """

    def __init__(self, start: int, most: int, slots: Mapping[str, int]) -> None:
        self.limit = start
        self._start = start
        self._most = max(start, most)
        self.slots = slots
        self._held: dict[str, deque[float]] = {}

    def learn(self, seconds: float, engine_seconds: Mapping[str, float]) -> None:
        """A micro-batch is done. ``seconds`` it took; ``engine_seconds``: its requests' times in flight, summed, by model."""
        if seconds <= 0:
            return
        for model, total in engine_seconds.items():
            self._held.setdefault(model, deque(maxlen=WINDOW)).append(total / seconds)
        wanted = self._start
        for model, held in self._held.items():
            mean = sum(held) / len(held)
            if len(held) >= min(self._start, WINDOW) and mean > 0:
                wanted = max(wanted, ceil(QUEUE * self.slots[model] / mean))
        self.limit = min(self._most, wanted)
