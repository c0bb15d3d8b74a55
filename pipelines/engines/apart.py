"""An engine in a separate process: its crash does not end the run, and closing it frees its memory.

Two vLLM engines in one process corrupt each other's memory, and a crash in native code cannot be caught. A
separate process costs a few milliseconds and a pickle per call. Parent and child communicate over a socket
that closes if either of them ends, so neither outlives the other.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import IO, Any

from ...contracts.errors import EngineError, GristmillError, ModelError
from ...contracts.inference import Capability, Completion, EngineSettings, Request
from ...contracts.printable import shown

#: Seconds that a child gets to free its engine before it is killed.
PATIENCE = 20.0


class ApartEngine:
    """Passes requests to an engine in a child process.

    Raises ModelError if the engine cannot be started, EngineError if its process was killed during the start.
    """

    def __init__(self, settings: EngineSettings) -> None:
        ours, theirs = socket.socketpair()
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the child)
        command = [sys.executable, "-P", "-m", f"{__package__}.child", str(theirs.fileno())]
        self._process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )
        theirs.close()
        self._connection = Connection(ours.detach())
        self._end = weakref.finalize(self, _end, self._process, self._connection)
        self._sending = threading.Lock()
        self._tickets = itertools.count()
        self._waiting: dict[int, Future[list[Completion]]] = {}
        self._dead: str | None = None
        self.capabilities, self.vocab_size = self._start(settings)
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
            await asyncio.to_thread(self._send, ("generate", ticket, list(requests)))
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            self._send(("cancel", ticket, None))
            raise
        finally:
            self._waiting.pop(ticket, None)

    async def close(self) -> None:
        """End the process after it has freed its engine."""
        await asyncio.to_thread(self._end)

    def _start(self, settings: EngineSettings) -> tuple[frozenset[Capability], int | None]:
        try:
            self._connection.send(settings)
            what, answer = self._connection.recv()
        except (EOFError, OSError):
            told = f"the engine's process ended while it started: {self._last_words()}"
            if self._process.poll() == -signal.SIGKILL:  # killed from outside, or out of memory
                raise EngineError(told, retryable=True) from None
            raise ModelError(told) from None
        if what == "failed":
            assert isinstance(answer, GristmillError)
            raise answer
        started: tuple[frozenset[Capability], int | None] = answer
        return started

    def _send(self, message: tuple[str, int, Any]) -> None:
        try:
            with self._sending:
                self._connection.send(message)
        except OSError:
            return  # the reader sees the end of the connection and fails all pending calls

    def _read(self) -> None:
        try:
            while True:
                ticket, completions, error = self._connection.recv()
                future = self._waiting.get(ticket)
                if future is None or future.done():
                    continue
                if error is not None:
                    future.set_exception(error)
                else:
                    future.set_result(completions)
        except (EOFError, OSError, pickle.UnpicklingError):
            self._dead = f"the engine's process died: {self._last_words()}"
        for future in list(self._waiting.values()):
            if not future.done():
                future.set_exception(EngineError(self._dead, retryable=True))

    def _last_words(self) -> str:
        """Describe how the process ended, with its last line of output."""
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            return "it no longer responds"
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 4000))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f"{how}: {shown(lines[-1])[:300]}" if lines else how


def _end(process: subprocess.Popen[bytes], connection: Connection) -> None:
    """Close the connection, on which the child exits; kill it if it does not."""
    connection_shut(connection)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    connection.close()


def connection_shut(connection: Connection) -> None:
    """Shut down both ends, so that a reader blocked in ``recv`` gets the end of the stream."""
    try:
        end = socket.socket(fileno=os.dup(connection.fileno()))
    except OSError:
        return  # closed already
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other end is gone already
    finally:
        end.close()
