"""Adapts the number of micro-batches in flight to those that are done."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from math import ceil

#: Requests in flight per slot of an engine: 1.5 times what it can batch, so that no slot is free.
QUEUE = 1.5
#: The number of recent micro-batches that are considered.
WINDOW = 12


class Pace:
    """The number of micro-batches to keep in flight.

    On average a micro-batch has fewer requests in its engine than it has rows: it waits for the slowest
    request, is verified between requests, and loses filtered rows. Its average is known when it is done. By
    Little's law, this average times the number of micro-batches in flight is the number of requests in
    flight.

    ``start``: the initial number, and the minimum. ``most``: the maximum. ``slots``: those of each model.
    ``has_room``: has an engine fewer requests than slots at this moment? Requests that wait to be sent again
    do not count, so micro-batches that are held up by them do not leave it idle.
    """

    def __init__(
        self, start: int, most: int, slots: Mapping[str, int], has_room: Callable[[], bool] = lambda: False
    ) -> None:
        self.limit = start
        self._has_room = has_room
        self._start = start
        self._most = max(start, most)
        self.slots = slots
        self._held: dict[str, deque[float]] = {}

    def allowed(self, running: int) -> int:
        """The number of micro-batches to have in flight now, if there are ``running``."""
        if running >= self.limit and running < self._most and self._has_room():
            return running + 1
        return self.limit

    def learn(self, seconds: float, engine_seconds: Mapping[str, float]) -> None:
        """Add a finished micro-batch: its ``seconds``, and the total time in flight of its requests, by
        model.
        """
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
