"""An engine in a separate process.

Two vLLM engines in one process corrupt each other's memory, and a crash in native code cannot be caught. A
separate process costs a few milliseconds and a pickle per call.
"""

from __future__ import annotations

import asyncio
import itertools
import pickle
import threading
from collections.abc import Sequence
from concurrent.futures import Future

from ...contracts.errors import EngineError
from ...contracts.inference import Capability, Completion, EngineSettings, Request
from .child_process import ChildProcess, afresh, forked


class ApartEngine:
    """Passes requests to an engine in a child process.

    ``warm``: fork it from a process that has imported what it imports (:mod:`.warm`).
    Raises ModelError if the engine cannot be started, EngineError if its process was killed during the start.
    """

    def __init__(self, settings: EngineSettings, *, warm: bool = False) -> None:
        self._child = ChildProcess(settings, forked(settings.kind) if warm else afresh("child"))
        self.capabilities: frozenset[Capability]
        self.vocab_size: int | None
        self.capabilities, self.vocab_size = self._child.facts
        self._tickets = itertools.count()
        self._waiting: dict[int, Future[list[Completion]]] = {}
        self._dead: str | None = None
        self._reader = threading.Thread(target=self._read, name="gristmill-engine-reader", daemon=True)
        self._reader.start()

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return completions in the order of the requests. Raises EngineError, retryable if the process
        died."""
        ticket = next(self._tickets)
        future: Future[list[Completion]] = Future()
        self._waiting[ticket] = future
        if self._dead is not None:
            self._waiting.pop(ticket, None)
            raise EngineError(self._dead, retryable=True)
        try:
            await asyncio.to_thread(self._child.send, ("generate", ticket, list(requests)))
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            self._child.send(("cancel", ticket, None))
            raise
        finally:
            self._waiting.pop(ticket, None)

    async def close(self) -> None:
        """End the process after it has freed its engine."""
        await asyncio.to_thread(self._child.end)

    def _read(self) -> None:
        try:
            while True:
                ticket, completions, error = self._child.connection.recv()
                future = self._waiting.get(ticket)
                if future is None or future.done():
                    continue
                if error is not None:
                    future.set_exception(error)
                else:
                    future.set_result(completions)
        except (EOFError, OSError, pickle.UnpicklingError):
            self._dead = f"the engine's process died: {self._child.last_words()}"
        for future in list(self._waiting.values()):
            if not future.done():
                future.set_exception(EngineError(self._dead, retryable=True))
