"""The number of requests to keep in flight at a server, found from its answers."""

from __future__ import annotations

import asyncio
import time
from collections import deque

#: Requests in flight before anything is known about the server. The latency never lowers the limit below.
START = 32
#: A server is crowded if an answer's tokens take this many times as long as at the best of times.
CROWDED = 2.0
#: A server is overloaded if it refuses this share of requests; fewer refusals are accidents.
OVERLOADED = 0.1
#: Refusals in a row after which the pause that a server asks for holds for all requests to it.
ALL_REFUSED = 3
#: Tokens that the fixed cost of an answer counts as, so that short and long answers compare.
FIXED_TOKENS = 16


class AdaptiveLimit:
    """A limit on concurrent holders that follows what a server bears.

    - It doubles per round trip until the server is overloaded (slow start), and then rises by one; after that
      it doubles again below half of what was too much.
    - Each refusal lowers it by half a slot: by half if all of a round trip were refused, and hardly at all
      if one was (Alizadeh et al., "Data Center TCP", SIGCOMM 2010).
    - If answers take :data:`CROWDED` times as long per token as they did at best, more requests only wait in
      the server's queue: it falls in proportion (Brakmo and Peterson, "TCP Vegas", 1995), not below the
      start.
    - If a server refuses all requests and says how long to wait, none is sent until then.

    Used on one event loop at a time.
    """

    def __init__(self, most: int, start: int = START) -> None:
        self.most = most
        self.limit = float(min(start, most))
        self.held = 0
        self._least = self.limit
        self._doubled_below = float("inf")
        self._share = 0.0  # of refusals, among about as many exchanges as the limit
        self._refusals = 0  # since the last answer
        self._closed_until = 0.0
        self._speed = _Speed()
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def load(self) -> float:
        """Holders and waiters over the limit."""
        return self.wanted / self.limit

    @property
    def wanted(self) -> int:
        """Holders and waiters."""
        return self.held + len(self._waiting)

    @property
    def pause(self) -> float:
        """Seconds until the server takes requests again."""
        return max(0.0, self._closed_until - time.monotonic())

    async def __aenter__(self) -> AdaptiveLimit:
        await self._acquire()
        try:
            while (left := self.pause) > 0:
                await asyncio.sleep(left)
        except BaseException:
            self._release()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._release()

    def answered(self, seconds: float, tokens: int) -> None:
        """Record an answer of ``tokens`` that took ``seconds``."""
        self._refusals = 0
        self._share -= self._share / self.limit
        slower = self._speed.add(seconds, tokens, window=max(START, int(self.limit)))
        if slower is not None and slower > CROWDED:
            self._doubled_below = self.limit / 2
            self.limit = max(self._least, self.limit * max(0.8, CROWDED / slower))
        elif not self._speed.crowded:
            doubles = self.limit < self._doubled_below and self._share < OVERLOADED
            self.limit = min(self.limit + (1.0 if doubles else 1 / self.limit), float(self.most))

    def refused(self, asked_pause: float | None = None) -> None:
        """Record a refusal because of overload. ``asked_pause``: seconds that the server asks to wait."""
        self._refusals += 1
        before, self._share = self._share, self._share + (1 - self._share) / self.limit
        if before < OVERLOADED <= self._share:
            self._doubled_below = self.limit / 2
        self.limit = max(self.limit - 0.5, 1.0)
        if asked_pause and self._refusals >= ALL_REFUSED:
            self._closed_until = max(self._closed_until, time.monotonic() + asked_pause)

    async def _acquire(self) -> None:
        # Waiters of an event loop that has ended.
        while self._waiting and self._waiting[0].get_loop() is not asyncio.get_running_loop():
            self._waiting.popleft()
        if self.held < int(self.limit) and not self._waiting:
            self.held += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release()  # the slot had already been passed on
            raise

    def _release(self) -> None:
        self.held -= 1
        while self._waiting and self.held < int(self.limit):
            turn = self._waiting.popleft()
            if not turn.done():
                self.held += 1
                turn.set_result(None)


class _Speed:
    """Seconds per token, by windows of answers. ``crowded``: was the last window much slower than the
    best?"""

    def __init__(self) -> None:
        self.crowded = False
        self._best: float | None = None
        self._count, self._seconds, self._tokens = 0, 0.0, 0

    def add(self, seconds: float, tokens: int, window: int) -> float | None:
        """Return the slowdown since the best window, when a window is full."""
        self._count += 1
        self._seconds += seconds
        self._tokens += tokens + FIXED_TOKENS
        if self._count < window:
            return None
        now = self._seconds / self._tokens
        self._count, self._seconds, self._tokens = 0, 0.0, 0
        # The best is forgotten slowly: other prompts may be slower at any load.
        self._best = now if self._best is None else min(now, self._best * 1.02)
        slower = now / self._best if self._best > 0 else 1.0
        self.crowded = slower > CROWDED
        return slower
