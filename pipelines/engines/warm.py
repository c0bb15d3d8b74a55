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
        reports = select.poll()
        reports.register(self._report, select.POLLIN)
        ready = reports.poll(None if timeout is None else 1000 * timeout)
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
    """The client of a warm parent. ``key``: what its imports depend on. ``forked``: whether it ever has."""

    def __init__(self, kind: str, key: object) -> None:
        self.key = key
        self.forked = False
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", "-m", f"{__package__}.warm_parent", str(theirs.fileno()), kind]
        nothing = subprocess.DEVNULL
        self._process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=nothing, stdout=nothing, stderr=nothing
        )
        theirs.close()

    def is_for(self, key: object) -> bool:
        """Whether another one would do no better: it runs, or could not even import what it should."""
        return self.key == key and (self._process.poll() is None or not self.forked)

    def fork(self, connection: int, output: int) -> ForkedProcess | None:
        report, theirs = os.pipe()
        folder = os.open(".", os.O_PATH)  # it may have no name any more
        with suppress(OSError):  # it is gone: the report is empty
            socket.send_fds(self._control, [b"fork"], [connection, output, folder, theirs])
        os.close(folder)
        os.close(theirs)
        process = ForkedProcess(report)
        self.forked |= process.pid > 0
        return process if process.pid else None

    def close(self) -> None:
        """Let it end with its last engine."""
        self._control.close()


class _Parents:
    """The warm parent that is used now, if there is one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.last: _Warm | None = None

    def forget(self) -> None:
        """Begin anew, in a fork of this process."""
        self.lock = threading.Lock()
        if self.last is not None:
            self.last.close()
        self.last = None


_PARENTS = _Parents()
os.register_at_fork(after_in_child=_PARENTS.forget)


def fork(kind: str, connection: int, output: int) -> ForkedProcess | None:
    """Fork the process of an engine of this kind; None if that fails.

    ``connection``, ``output``: the descriptors of its socket and of the file that it prints to.
    """
    # What libraries read when they are imported. Pytest's own variables change with every test.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    key = (kind, environment, os.sched_getaffinity(0))
    with _PARENTS.lock:
        warm = _PARENTS.last
        if warm is None or not warm.is_for(key):
            if warm is not None:
                warm.close()
            warm = _PARENTS.last = _Warm(kind, key)
        return warm.fork(connection, output)
