"""How many requests to keep in flight, and how long to wait before the next try."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_LONGEST_PAUSE = 60.0


class AdaptiveLimit:
    """At most ``limit`` holders at once; the limit rises while all goes well and halves on a refusal.

    Additive increase, multiplicative decrease (Chiu and Jain, 1989): one more slot for each
    ``limit`` answers, half of them where the server says that it is overloaded, at most once for
    the requests that were sent together. Used on one event loop at a time.
    """

    def __init__(self, most: int, start: int = 8) -> None:
        self.most = most
        self.limit = float(min(start, most))
        self.held = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._allowance = 0  # answers still due from before the last cut

    async def __aenter__(self) -> AdaptiveLimit:
        # A loop that ended left its waiters behind.
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
                self._release()  # the slot had just been handed over
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
    """Seconds to wait after try number ``attempt`` (from 1): what the server asked, else exponential.

    With jitter, so that requests refused together do not come back together.
    """
    if asked is not None:
        return min(asked, _LONGEST_PAUSE) + random.uniform(0, 0.1)
    return min(0.5 * 2.0 ** (attempt - 1), _LONGEST_PAUSE) * random.uniform(0.5, 1.5)


def retry_after(header: str | None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for (a number or a date), None where it says nothing."""
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
