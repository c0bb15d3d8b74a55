"""Lets one engine work at a time: on a CPU,
two engines that use all cores slow each other down severalfold.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """A lock that allows concurrent calls to one engine, but not to two engines.

    An engine's turn ends with its last call. For use from one event loop.
    """

    def __init__(self) -> None:
        self._holder: str | None = None
        self._calls = 0
        self._ended = asyncio.Condition()

    @asynccontextmanager
    async def of(self, engine: str) -> AsyncIterator[None]:
        """Wait for the engine's turn and hold it."""
        async with self._ended:
            await self._ended.wait_for(lambda: self._calls == 0 or self._holder == engine)
            self._holder = engine
            self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            if self._calls == 0:
                async with self._ended:
                    self._ended.notify_all()
