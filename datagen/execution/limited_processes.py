"""Calls a function on hostile input in child processes, with limits on processor time and memory.

A library of symbolic mathematics or a database may compute for years or take all memory, and its own time
limits work by signals, which only a main thread receives. A process can be ended at any time, and then only
one answer is lost. The limit is on processor time, so a busy machine does not change an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from multiprocessing.connection import Connection
from typing import Any

from ...contracts.errors import DataError

#: Seconds allowed for a process to start, and to be without a processor; a busy machine is not an error.
START, WAIT = 300.0, 300.0
#: Seconds allowed for a process that closed its connection to end; after them it counts as still computing.
EXIT = 20.0


class CallLimitReached(DataError):
    """A call exceeded its limit on time or memory, or ended its process."""


class LimitedProcesses:
    """Child processes that call ``module.function`` with keyword arguments and return its result, as JSON.

    ``seconds``: processor time per call; ``memory``: bytes. A process that exceeds a limit is replaced.
    """

    def __init__(self, module: str, function: str, *, seconds: int, memory: int, workers: int) -> None:
        self._command = [f"{__package__}.limited_child", module, function, str(memory), str(seconds)]
        self._seconds, self._memory = seconds, memory
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="limited")
        self._idle: list[_LimitedProcess] = []
        self._lock = threading.Lock()

    async def call(self, **arguments: Any) -> Any:
        """Return the function's result. Raises CallLimitReached, with the reason as its message."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._call, arguments)

    def each(self, calls: Iterable[Mapping[str, Any]]) -> Iterator[Any]:
        """Yield the result of each call in order, several at once, or the CallLimitReached that it raised."""
        return self._threads.map(self._result, calls)

    def _result(self, arguments: Mapping[str, Any]) -> Any:
        try:
            return self._call(arguments)
        except CallLimitReached as reached:
            return reached

    def _call(self, arguments: Mapping[str, Any]) -> Any:
        with self._lock:
            child = self._idle.pop() if self._idle else None
        child = child or _LimitedProcess(self._command)
        told = child.ask(arguments, self._seconds + WAIT)
        if told is None or "memory" in told:
            how = child.kill()
            if told is not None or how == "SIGKILL":
                raise CallLimitReached(f"it needs more memory than {self._memory / 2**20:.0f} MiB")
            if how in ("SIGXCPU", "running"):
                raise CallLimitReached(f"it takes longer than {self._seconds} s")
            raise CallLimitReached(f"its process ended with {how}")
        with self._lock:
            self._idle.append(child)
        if "deep" in told:
            raise CallLimitReached("it is nested too deeply")
        return told["answer"]


@cache
def _shared(process: int, module: str, function: str, seconds: int, memory: int) -> LimitedProcesses:
    return LimitedProcesses(
        module, function, seconds=seconds, memory=memory, workers=max(1, min(8, os.cpu_count() or 1))
    )


def shared(module: str, function: str, *, seconds: int, memory: int) -> LimitedProcesses:
    """Return this process's children for the function: one per core, started as needed and kept."""
    return _shared(os.getpid(), module, function, seconds, memory)


class _LimitedProcess:
    """A child process with its socket."""

    def __init__(self, command: list[str]) -> None:
        name, *arguments = command
        ours, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", name, str(theirs.fileno()), *arguments],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # One thread adds in one order; the hash seed decides the order in which sympy simplifies.
            env={**os.environ, "TZ": "UTC", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
        )
        theirs.close()
        self._connection = Connection(ours.detach())
        self._end = weakref.finalize(self, _end, self._process, self._connection)
        if self._receive(START) is None:
            raise DataError(f"the process for {command[1]}.{command[2]} cannot be started: {self.kill()}")

    def ask(self, question: Mapping[str, Any], seconds: float) -> dict[str, Any] | None:
        """Return the answer; None if the process ended, or answers too late."""
        try:
            self._connection.send_bytes(json.dumps(dict(question)).encode())
        except OSError:
            return None
        return self._receive(seconds)

    def _receive(self, seconds: float) -> dict[str, Any] | None:
        with contextlib.suppress(EOFError, OSError):
            if self._connection.poll(seconds):
                told: dict[str, Any] = json.loads(self._connection.recv_bytes())
                return told
        return None

    def kill(self) -> str:
        """End the process; return the signal or the exit code with which it had ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT)
        code = self._process.poll()
        self._end()
        if code is None:
            return "running"
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _end(process: subprocess.Popen[bytes], connection: Connection) -> None:
    connection.close()
    process.kill()
    process.wait()
