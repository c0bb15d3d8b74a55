"""How many requests to keep in flight, and how long to wait before the next try."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_LONGEST_PAUSE = 60.0


class AdaptiveLimit:
    """A limit on concurrent holders that rises while calls succeed and halves on a refusal.

    Additive increase, multiplicative decrease (Chiu and Jain, 1989): the limit grows by one per ``limit``
    answers, and halves if the server reports overload, at most once for requests that were sent together.
    Used on one event loop at a time.
    """

    def __init__(self, most: int, start: int = 8) -> None:
        self.most = most
        self.limit = float(min(start, most))
        self.held = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._allowance = 0  # pending answers from before the last decrease

    async def __aenter__(self) -> AdaptiveLimit:
        # Waiters of an event loop that has ended.
        while self._waiting and self._waiting[0].get_loop() is not asyncio.get_running_loop():
            self._waiting.popleft()
        if self.held < int(self.limit) and not self._waiting:
            self.held += 1
            return self
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release()  # the slot had already been passed on
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._release()

    def went_well(self) -> None:
        self._allowance = max(0, self._allowance - 1)
        self.limit = min(self.limit + 1 / self.limit, float(self.most))

    def was_refused(self) -> None:
        if self._allowance > 0:
            self._allowance -= 1
            return
        self._allowance = self.held - 1
        self.limit = max(self.limit / 2, 1.0)

    def _release(self) -> None:
        self.held -= 1
        while self._waiting and self.held < int(self.limit):
            turn = self._waiting.popleft()
            if not turn.done():
                self.held += 1
                turn.set_result(None)


def pause_before(attempt: int, asked: float | None) -> float:
    """Return the seconds to wait after attempt number ``attempt`` (from 1).

    This is the delay that the server requested, else an exponential one. Jitter keeps requests that were
    refused together from being retried together.
    """
    if asked is not None:
        return min(asked, _LONGEST_PAUSE) + random.uniform(0, 0.1)
    return min(0.5 * 2.0 ** (attempt - 1), _LONGEST_PAUSE) * random.uniform(0.5, 1.5)


def retry_after(header: str | None) -> float | None:
    """Return the seconds in a ``Retry-After`` header (a number or a date); None if it is not valid."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(header)
    except ValueError:
        return None
    left = float((when - datetime.now(UTC if when.tzinfo else None)).total_seconds())
    return max(0.0, left)
