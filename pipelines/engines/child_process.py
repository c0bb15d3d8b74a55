"""A child process that serves a model: its crash does not end the run, and closing it frees its memory.

Parent and child communicate over a socket that closes if either of them ends, so neither outlives the other.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import IO, Any, TypeAlias

from ...contracts.errors import EngineError, GristmillError, ModelError
from ...contracts.inference import EngineSettings
from ...contracts.printable import shown
from .warm import ForkedProcess, fork

#: Seconds that a child gets to free its model before it is killed.
PATIENCE = 20.0


#: Starts a process, given the descriptors of its socket and of the file that it prints to.
Launch: TypeAlias = Callable[[int, int], subprocess.Popen[bytes] | ForkedProcess]


def afresh(module: str) -> Launch:
    """Start a module of this package in a new interpreter, with the descriptor of its socket as argument."""

    def launch(connection: int, output: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", f"{__package__}.{module}", str(connection)]
        return subprocess.Popen(
            command, pass_fds=[connection], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )

    return launch


def forked(kind: str) -> Launch:
    """Fork the engine's process, or start it anew where that fails, which tells the reason."""

    def launch(connection: int, output: int) -> subprocess.Popen[bytes] | ForkedProcess:
        return fork(kind, connection, output) or afresh("child")(connection, output)

    return launch


class ChildProcess:
    """A process that ``launch`` starts with its end of a socket.

    It is sent ``settings``, and answers with ("started", facts about the model) or ("failed", error).
    ``facts``: what it answered. Raises ModelError if the model cannot be started, EngineError if the process
    was killed during the start.
    """

    def __init__(self, settings: EngineSettings, launch: Launch) -> None:
        ours, theirs = socket.socketpair()
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the child)
        self._process = launch(theirs.fileno(), self._log.fileno())
        theirs.close()
        self.connection = Connection(ours.detach())
        self._sending = threading.Lock()
        #: Ends the process after it has freed its model. Called at the latest when this object is dropped.
        self.end = weakref.finalize(self, _end, self._process, self.connection)
        self.facts = self._start(settings)

    def send(self, message: Any) -> None:
        """Send a message. If the process is gone, the next ``connection.recv`` says so."""
        try:
            with self._sending:
                self.connection.send(message)
        except OSError:
            return

    def last_words(self) -> str:
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

    def _start(self, settings: EngineSettings) -> Any:
        try:
            self.connection.send(settings)
            what, answer = self.connection.recv()
        except (EOFError, OSError):
            told = f"the engine's process ended while it started: {self.last_words()}"
            if self._process.poll() == -signal.SIGKILL:  # killed from outside, or out of memory
                raise EngineError(told, retryable=True) from None
            raise ModelError(told) from None
        if what == "failed":
            assert isinstance(answer, GristmillError)
            raise answer
        return answer


def _end(process: subprocess.Popen[bytes] | ForkedProcess, connection: Connection) -> None:
    """Close the connection, on which the child exits; kill it if it does not."""
    _shut(connection)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    connection.close()


def _shut(connection: Connection) -> None:
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
