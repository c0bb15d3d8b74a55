"""Processes of engines, forked from one that has imported their libraries already (:mod:`.warm_parent`).

Imports are two thirds of the time in which vLLM starts with a small model on a CPU. They are paid once per
run and not for every engine.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress


class ForkedProcess:
    """A process of an engine, with the methods of ``subprocess.Popen`` that are used of it.

    ``report``: the pipe into which the warm parent writes its number, and its exit code.
    """

    def __init__(self, report: int) -> None:
        self._report = os.fdopen(report, "rb", buffering=0)
        self._code: int | None = None
        self._reading = threading.Lock()
        self.pid = int(self._report.readline() or 0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, negative for a signal. Raises subprocess.TimeoutExpired."""
        ready, _, _ = select.select([self._report], [], [], timeout)
        with self._reading:
            if self._code is None and not ready:
                raise subprocess.TimeoutExpired(f"engine {self.pid}", timeout or 0.0)
            if self._code is None:
                # Without a report the warm parent was killed, and its processes with it.
                self._code = int(self._report.readline() or -signal.SIGKILL)
            return self._code

    def poll(self) -> int | None:
        """Return the exit code; None if it runs."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0.0)
        return None

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class _Warm:
    """The client of a warm parent. ``key``: what its imports depend on."""

    def __init__(self, kind: str, key: object) -> None:
        self.key = key
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", "-m", f"{__package__}.warm_parent", str(theirs.fileno()), kind]
        nothing = subprocess.DEVNULL
        self._process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=nothing, stdout=nothing, stderr=nothing
        )
        theirs.close()

    def serves(self, key: object) -> bool:
        return self.key == key and self._process.poll() is None

    def fork(self, connection: int, output: int) -> ForkedProcess:
        report, theirs = os.pipe()
        try:
            with suppress(OSError):  # it is gone: the report is empty
                socket.send_fds(self._control, [os.fsencode(os.getcwd())], [connection, output, theirs])
        finally:
            os.close(theirs)
        return ForkedProcess(report)

    def close(self) -> None:
        """Let it end with its last engine."""
        self._control.close()


#: By process: a fork of this one has none.
_WARM: dict[int, _Warm] = {}
_LOCK = threading.Lock()


def fork(kind: str, connection: int, output: int) -> ForkedProcess:
    """Start the process of an engine of this kind, which has a function ``preload``.

    ``connection``, ``output``: the descriptors of its socket and of the file that it prints to.
    """
    # What libraries read when they are imported. Pytest's own variables change with every test.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    key = (kind, environment, os.sched_getaffinity(0))
    with _LOCK:
        warm = _WARM.get(os.getpid())
        if warm is None or not warm.serves(key):
            if warm is not None:
                warm.close()
            warm = _WARM[os.getpid()] = _Warm(kind, key)
        return warm.fork(connection, output)
