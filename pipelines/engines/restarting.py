"""Wrapper that restarts an engine if it dies."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence

from ...contracts.errors import EngineError, GristmillError
from ...contracts.inference import Capability, Completion, Engine, Request


class Restarting:
    """Serves an engine from ``make``, and makes a new one after a failure that a restart may solve.

    All calls in flight wait for the single restart. Each is then retried, up to ``attempts`` attempts in
    total. ``make`` blocks and may raise ModelError. The first start passes errors on, and so does a second
    retryable EngineError. ``pause``: seconds before the first restart, doubled for each further one.
    """

    def __init__(self, make: Callable[[], Engine], attempts: int = 3, *, pause: float = 0.5) -> None:
        self._make = make
        self._attempts = attempts
        self._pause = pause
        self._engine = _first(make)
        self._closed = False
        self._restart: asyncio.Task[None] | None = None
        self.capabilities: frozenset[Capability] = self._engine.capabilities
        self.vocab_size: int | None = self._engine.vocab_size

    @property
    def wanted(self) -> int | None:
        """The requests in flight or waiting; None if the engine does not tell."""
        return getattr(self._engine, "wanted", None)

    async def generate(self, requests: Sequence[Request]) -> Sequence[Completion | EngineError]:
        """Generate with retries. Raises EngineError if it is not retryable, or after ``attempts``
        attempts."""
        reason = restart = ""
        for attempt in range(1, self._attempts + 1):
            engine = self._engine
            try:
                return await engine.generate(requests)
            except EngineError as error:
                if not error.retryable or self._closed:
                    raise
                reason = str(error)
            if attempt < self._attempts:
                try:
                    await self._replace(engine, self._pause * 2 ** (attempt - 1))
                    restart = ""
                except GristmillError as error:
                    restart = f"; it could not be started again: {error}"
        raise EngineError(f"the engine failed {self._attempts} times: {reason}{restart}", retryable=True)

    async def close(self) -> None:
        """Close the engine, including one that is being started."""
        self._closed = True
        if self._restart is not None and not self._restart.done():
            self._restart.cancel()
            with contextlib.suppress(asyncio.CancelledError, GristmillError):
                await self._restart
        await self._engine.close()

    async def _replace(self, dead: Engine, pause: float) -> None:
        """Wait until ``dead`` is replaced. One restart serves all waiting calls."""
        if self._engine is not dead:
            return
        loop = asyncio.get_running_loop()
        if self._restart is None or self._restart.done() or self._restart.get_loop() is not loop:
            self._restart = loop.create_task(self._start_again(dead, pause))
        # Shielded: a cancelled caller must not stop the restart that others wait for.
        await asyncio.shield(self._restart)

    async def _start_again(self, dead: Engine, pause: float) -> None:
        with contextlib.suppress(Exception):  # the engine is dead: further errors are irrelevant
            await dead.close()
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))
        making = asyncio.ensure_future(asyncio.to_thread(self._make))
        try:
            self._engine = await asyncio.shield(making)
        except asyncio.CancelledError:
            # The thread cannot be stopped: wait for its engine and close it.
            with contextlib.suppress(GristmillError):
                await (await making).close()
            raise


def _first(make: Callable[[], Engine]) -> Engine:
    try:
        return make()
    except EngineError as error:
        if not error.retryable:
            raise
        return make()
