"""Evaluates SQL over a table in a child process, with limits on time and memory.

DuckDB checks its own limits only between vectors of rows: one call of ``repeat`` can use all memory, and one
list can take hours. A process can be limited and ended at any time, and if it crashes only one answer is
lost.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from ...contracts.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

#: Seconds between two checks whether the run is stopping.
LOOK = 0.1
#: Seconds allowed for a process to start and read a table; generous, because a busy machine is not an error.
START = 600.0
#: Seconds allowed for a process to end after it closed its socket; a busy machine may need some of them.
GONE = 20.0


class QueryLimits(NamedTuple):
    """Limits of an evaluation.

    ``seconds``: time of a query over the whole table, plus ``row_seconds`` per row. ``part_seconds``: time of
    a query over a part of it, when searching for failing rows. ``memory``: bytes, in addition to the table's
    own. ``value``: bytes of the results of one row. ``failures``: maximum number of rows that may fail
    individually.
    """

    seconds: float = 60.0
    row_seconds: float = 1e-4
    part_seconds: float = 5.0
    memory: int = 4 << 30
    value: int = 16 << 20
    failures: int = 1000


LIMITS = QueryLimits()


class QueryError(DataError):
    """DuckDB refused a query, or a value did not fit. The message states only the reason."""


class LimitReached(QueryError):
    """A query exceeded its limit on time or memory."""


class Evaluation:
    """A table in a child process that answers queries: ``with Evaluation(table, check) as evaluation``.

    ``check``: called while waiting; if it raises, the query ends. ``types``: the DuckDB types of the columns
    of the last answer.
    """

    def __init__(self, table: pa.Table, check: Callable[[], None], limits: QueryLimits = LIMITS) -> None:
        self.table, self.limits, self._check = table, limits, check
        self.types: list[str] = []
        self._child: _Child | None = None
        self._ended = ""

    def __enter__(self) -> Evaluation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._child is not None:
            self._child.rest()
        self._child = None

    def query(self, sql: str, seconds: float | None = None) -> pa.Table:
        """Return the result of the query. ``seconds``: a time limit that replaces the default.

        Raises QueryError if DuckDB refuses the query, LimitReached if it exceeds the limits.
        """
        limits = self.limits
        allowed = limits.seconds + limits.row_seconds * self.table.num_rows if seconds is None else seconds
        message = {"query": sql, "most": limits.memory}
        # A process may be killed from outside (if memory is short elsewhere), so the first time is not an
        # error.
        told = self._asked(message, allowed) or self._asked(message, allowed)
        if told is None:
            raise QueryError(f"the process that evaluates it ended with {self._ended}")
        if "error" in told:
            raise QueryError(told["error"])
        if "large" in told or "memory" in told:
            raise LimitReached(f"it needs more memory than the limit of {limits.memory / 2**30:.2g} GiB")
        assert self._child is not None
        self.types = told["types"]
        return self._child.made()

    def _asked(self, message: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """Return the answer to a query, or None if the process ended; the next query then starts a new
        one."""
        done = False
        try:
            child = self._ready()
            told = child.ask(message, seconds, self._check)
            done = told is not None and "memory" not in told
            return told
        finally:
            if not done and self._child is not None:
                self._ended = self._child.kill()
                self._child = None

    def _ready(self) -> _Child:
        if self._child is None:
            child = _Child.idle() or _Child()
            self._child = child
            child.give(self.table)
            told = child.ask({"memory": self.limits.memory}, START, self._check)
            if told:
                raise QueryError(told.get("error", "the table needs more memory than the limit allows"))
        return self._child


class _Child:
    """A child process with its socket and the two files that hold tables."""

    _idle: list[_Child] = []  # noqa: RUF012 (shared on purpose)
    _lock = threading.Lock()

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._given, self._made = _file("given"), _file("made")
        passed = [theirs.fileno(), self._given, self._made]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"{__package__}.sql_child", *map(str, passed)],
            pass_fds=passed,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # The same rows on every machine, wherever it stands; one thread adds up in one order.
            env={**os.environ, "TZ": "UTC", "OMP_NUM_THREADS": "1"},
        )
        theirs.close()
        self._connection = Connection(ours.detach())
        self._of = os.getpid()
        self._closed = False
        self._end = weakref.finalize(self, _end, self.process, self._connection, self._given, self._made)

    @classmethod
    def idle(cls) -> _Child | None:
        """Take a process that finished its last table, if any. A fork does not take its parent's."""
        with cls._lock:
            cls._idle[:] = [each for each in cls._idle if each._of == os.getpid()]
            return cls._idle.pop() if cls._idle else None

    def rest(self) -> None:
        """Return the process for the next evaluation."""
        for file in (self._given, self._made):
            os.ftruncate(file, 0)
        with self._lock:
            self._idle.append(self)

    def give(self, table: pa.Table) -> None:
        import pyarrow as pa

        os.ftruncate(self._given, 0)
        os.lseek(self._given, 0, os.SEEK_SET)
        with (
            os.fdopen(self._given, "wb", closefd=False) as file,
            pa.ipc.new_stream(file, table.schema) as writer,
        ):
            writer.write_table(table)

    def made(self) -> pa.Table:
        import pyarrow as pa

        os.lseek(self._made, 0, os.SEEK_SET)
        with os.fdopen(self._made, "rb", closefd=False) as file:
            return pa.ipc.open_stream(pa.py_buffer(file.read())).read_all()

    def kill(self) -> str:
        """End the process; return how it ended, if it had ended already."""
        if self._closed:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(GONE)
        code = self.process.poll()
        self._end()
        return (
            f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
        )

    def ask(
        self, message: dict[str, Any], seconds: float, check: Callable[[], None]
    ) -> dict[str, Any] | None:
        """Return the answer, or None if the process ended.

        Raises LimitReached, and whatever ``check`` raises.
        """
        deadline = time.monotonic() + seconds
        try:
            self._connection.send_bytes(json.dumps(message).encode())
            while not self._connection.poll(LOOK):
                check()
                if time.monotonic() > deadline:
                    raise LimitReached(f"it takes longer than the limit of {seconds:.3g} s")
            told: dict[str, Any] = json.loads(self._connection.recv_bytes())
            return told
        except (EOFError, OSError):
            self._closed = True
            return None


def _file(name: str) -> int:
    """Open an unnamed file, in memory if the system supports it."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(f"gristmill-{name}")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _end(process: subprocess.Popen[bytes], connection: Connection, *files: int) -> None:
    connection.close()
    process.kill()
    process.wait()
    for file in files:
        os.close(file)
