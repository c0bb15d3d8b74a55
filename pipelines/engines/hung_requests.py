"""Gives up requests that a server will not answer any more, by how long it usually takes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

#: A request is hung after this multiple of the usual time of a full answer.
MULTIPLE = 3.0
#: Answers that must be known before any request is given up, and those that are remembered.
ENOUGH, REMEMBERED = 16, 64
#: No request is given up earlier than this (seconds), and each is looked at this often.
SHORTEST = 3.0
#: With so many requests in flight and no answer to any, the server is stalled, and no request is hung.
STALLED = 4


class UsualTime:
    """How long recent answers took, and how many tokens they had."""

    def __init__(self) -> None:
        self._answers: deque[tuple[float, int]] = deque(maxlen=REMEMBERED)

    def add(self, seconds: float, tokens: int) -> None:
        self._answers.append((seconds, tokens))

    def of(self, max_tokens: int) -> float | None:
        """Return the usual seconds of an answer of ``max_tokens``; None if too few answers are known.

        At the recent speed, or those of the slowest twentieth of recent answers if that is longer; but at
        most four times those of the slowest, because answers of a few tokens tell little about speed.
        """
        if len(self._answers) < ENOUGH:
            return None
        seconds = sorted(taken for taken, _ in self._answers)
        speed = sum(seconds) / max(1, sum(tokens for _, tokens in self._answers))
        slow = seconds[int(0.95 * (len(seconds) - 1))]
        return min(max(speed * max_tokens, slow), 4 * seconds[-1])


@dataclass(eq=False)
class _Flight:
    """A request in flight. ``began``: by the loop's clock. ``given_up``: how often it was before."""

    began: float
    max_tokens: int
    given_up: int
    timer: asyncio.Timeout
    look: asyncio.TimerHandle | None = None


class HungRequests:
    """Watches the requests in flight at one server. ``longest``: seconds that any of them may take."""

    def __init__(self, longest: float) -> None:
        self.in_flight = 0
        self._longest = longest
        self._usual = UsualTime()
        self._answered = 0.0  # when the last answer came

    def answered(self, seconds: float, tokens: int) -> None:
        """Record an answer of ``tokens`` that took ``seconds``."""
        self._usual.add(seconds, tokens)
        self._answered = asyncio.get_running_loop().time()

    @asynccontextmanager
    async def watched(self, max_tokens: int, given_up: int) -> AsyncIterator[None]:
        """Watch a request for ``max_tokens`` that was ``given_up`` before. Raises TimeoutError if it
        hangs."""
        loop = asyncio.get_running_loop()
        self.in_flight += 1
        try:
            async with asyncio.timeout(self._longest) as timer:
                flight = _Flight(loop.time(), max_tokens, given_up, timer)
                flight.look = loop.call_later(SHORTEST, self._look, flight)
                try:
                    yield
                finally:
                    flight.look.cancel()
        finally:
            self.in_flight -= 1

    def cutoff(self, max_tokens: int, given_up: int) -> float:
        """Return the seconds after which a request is given up.

        Each time that it was before doubles them, so that an answer that really takes so long comes in the
        end.
        """
        usual = self._usual.of(max_tokens)
        if usual is None:
            return self._longest
        return min(self._longest, max(SHORTEST, MULTIPLE * usual) * 2.0**given_up)

    def _look(self, flight: _Flight) -> None:
        """Give a request up, or look at it again later."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        left = flight.began + self.cutoff(flight.max_tokens, flight.given_up) - now
        if left <= 0 and not self._is_stalled(now, flight.max_tokens):
            flight.timer.reschedule(now)
        else:
            flight.look = loop.call_later(min(left, SHORTEST) if left > 0 else 1.0, self._look, flight)

    def _is_stalled(self, now: float, max_tokens: int) -> bool:
        usual = self._usual.of(max_tokens)
        return self.in_flight >= STALLED and usual is not None and now - self._answered > usual
