"""The child process of :mod:`.apart`: ``python -m gristmill.pipelines.engines.child FD``.

It reads settings, starts the engine, and answers calls until the connection closes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from ...contracts.errors import EngineError, GristmillError, ModelError
from ...contracts.inference import Completion, Engine
from . import start_here


class Child:
    """Serves one connection with one engine."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def start(self) -> Engine | None:
        """Start the requested engine. If that fails, report why and return None."""
        settings = self._connection.recv()
        try:
            engine = start_here(settings)
        except GristmillError as error:
            self._connection.send(("failed", error))
            return None
        except Exception as error:
            self._connection.send(("failed", ModelError(f"{type(error).__name__}: {error}")))
            return None
        self._connection.send(("started", (engine.capabilities, engine.vocab_size)))
        return engine

    async def serve(self, engine: Engine) -> None:
        """Answer calls concurrently until the parent closes the connection."""
        while True:
            try:
                what, ticket, requests = await asyncio.to_thread(self._connection.recv)
            except (EOFError, OSError):
                break
            if what == "generate":
                self._tasks[ticket] = asyncio.create_task(self._answer(engine, ticket, requests))
            elif ticket in self._tasks:
                self._tasks[ticket].cancel()
        for task in self._tasks.values():
            task.cancel()
        await engine.close()

    async def _answer(self, engine: Engine, ticket: int, requests: list[Any]) -> None:
        answer: tuple[int, Sequence[Completion | EngineError] | None, EngineError | None]
        try:
            answer = (ticket, await engine.generate(requests), None)
        except EngineError as error:
            answer = (ticket, None, error)
        except Exception as error:
            answer = (ticket, None, EngineError(f"{type(error).__name__}: {error}", retryable=False))
        finally:
            self._tasks.pop(ticket, None)
        await asyncio.to_thread(self._send, answer)

    def _send(self, answer: tuple[Any, ...]) -> None:
        try:
            with self._sending:
                self._connection.send(answer)
        except OSError:
            return  # the parent is gone; `serve` ends


def run(connection: int) -> NoReturn:
    """Serve the connection with this descriptor, and end the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    child = Child(Connection(connection))
    engine = child.start()
    if engine is not None:
        asyncio.run(child.serve(engine))
    sys.stdout.flush()
    os._exit(0)  # native threads must not keep the process of a closed engine alive


if __name__ == "__main__":
    run(int(sys.argv[1]))
