"""Enforces a run's limits on time, memory and processes, from the zygote, which is outside the run.

It never reads the run's output. It reports the fate of the run in a few bytes, and ``following.py`` decides
the result.
"""

from __future__ import annotations

import math
import os
import select
import signal
import socket
import struct
import time
from enum import IntEnum
from typing import NamedTuple

from . import processes
from .limits import MIB, Limits

#: Interval between two checks of the run's memory and processor time, in seconds. Short tests end before the
#: first.
WATCH = 0.05
#: The message that asks the zygote to end the run.
END = b"end"


class Cause(IntEnum):
    """Why a run ended.

    ``ITSELF``: its first process exited. ``ASKED``: the peer asked for it. ``LOST``: it could not be started.
    """

    ITSELF, ASKED, WALL_TIME, CPU_TIME, MEMORY, PROCESSES, LOST = range(7)


class RunFate(NamedTuple):
    """How a run ended.

    ``status``: wait status of its first process. ``why``: the reason, for ``Cause.LOST`` only.
    """

    cause: Cause
    status: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    why: str = ""

    def encoded(self) -> bytes:
        return _FATE.pack(*self[:4]) + self.why.encode("utf-8", "backslashreplace")[:1000]

    @classmethod
    def decoded(cls, told: bytes) -> RunFate:
        """Raises ValueError or struct.error if the bytes are not a fate."""
        cause, status, seconds, cpu_seconds = _FATE.unpack_from(told)
        return cls(Cause(cause), status, seconds, cpu_seconds, told[_FATE.size :].decode(errors="replace"))


_FATE = struct.Struct("!Bidd")


class Supervisor:
    """Supervises one run.

    ``first``: id of its first process, a child of this one. ``judged``: the first process is the judge.
    Otherwise it only waits for the program's process, and does not count toward the limits. ``isolated``: all
    processes visible here, except this one, belong to the run.
    """

    def __init__(self, first: int, limits: Limits, *, judged: bool, isolated: bool, started: float) -> None:
        self._first, self._limits, self._isolated, self._started = first, limits, isolated, started
        self._uncounted = {os.getpid()} if judged else {os.getpid(), first}
        self._most = limits.processes + (1 if judged else 0)

    def fate(self, channel: socket.socket) -> RunFate:
        """Wait for the run to end, or end it if it exceeds a limit or the peer asks.

        Raises EOFError if the peer closed the channel. The run is then ended too.
        """
        try:
            ending = os.pidfd_open(self._first)
            cause = self._watch(ending, channel)
            os.close(ending)
        finally:
            os.kill(self._first, signal.SIGKILL)  # not reaped yet, so its id cannot have been reused
            _, status, used = os.wait4(self._first, 0)
        seconds = time.monotonic() - self._started
        return RunFate(cause, status, seconds, used.ru_utime + used.ru_stime)

    def _watch(self, ending: int, channel: socket.socket) -> Cause:
        poll = select.poll()
        poll.register(ending, select.POLLIN)
        poll.register(channel, select.POLLIN)
        deadline = self._started + self._limits.wall_seconds
        look = self._started + WATCH
        while True:
            now = time.monotonic()
            if now >= deadline:
                return Cause.WALL_TIME
            if now >= look:
                if (cause := self._over_a_limit()) is not None:
                    return cause
                look = time.monotonic() + WATCH
                continue
            for descriptor, _ in poll.poll(math.ceil(1000 * (min(deadline, look) - now))):
                if descriptor == ending:
                    return Cause.ITSELF
                if not channel.recv(len(END)):
                    raise EOFError("nobody waits for the run")
                return Cause.ASKED

    def _over_a_limit(self) -> Cause | None:
        everyone = processes.everyone() if self._isolated else processes.below(os.getpid())
        pids = [pid for pid in everyone if pid not in self._uncounted]
        used = processes.usage(pids)
        memory = self._limits.memory_mib * MIB
        if len(pids) > self._most:
            return Cause.PROCESSES
        if used.cpu_seconds > self._limits.cpu_seconds:
            return Cause.CPU_TIME
        if used.memory > memory and processes.shared_memory(pids) > memory:
            return Cause.MEMORY
        return None
