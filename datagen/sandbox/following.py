"""Follows one run from outside: sends its job, reads its output within limits, and determines its outcome.

The run's own processes hold the other ends of these descriptors. The size of what they send is bounded here.
``Result.from_dict`` checks its types.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import secrets
import select
import signal
import socket
import time
from functools import lru_cache
from typing import Any

from .failures import RunLost
from .jobs import RunRequest
from .limits import KIB, MIB, Limits
from .results import Status
from .supervisor import END, Cause, RunFate
from .worker import TOKEN

#: Maximum size of the harness's report, in bytes.
REPORT = 4 * MIB
#: Maximum size of a message from the zygote or from the run's first process, in bytes.
SHORT = 4096
#: Time for the zygote to report the fate of a run after its time limit, in seconds.
ANSWER = 10.0
#: Time before the first read of a run's pipes, in seconds. A short run is over by then, which saves wake-ups.
QUIET = 0.02
REPORTED = ("passed", "failed", "error", "vacuous", "memory")
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class FollowedRun:
    """One run. A context manager that closes its descriptors on exit.

    ``killable``: whether the untrusted code could have ended the run's first process.
    """

    def __init__(self, request: RunRequest, limits: Limits, *, killable: bool) -> None:
        """Raises OSError if no file descriptors are left."""
        self._request, self._limits, self._killable = request, limits, killable
        self._token = secrets.token_hex(TOKEN // 2)
        self._rest = memoryview(self._token.encode() + request.job)
        self._read: dict[int, bytearray] = {}
        self._names: dict[int, str] = {}
        self._too_much: str | None = None
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            report = self._pipe("report", ours, theirs)
            self._orders, orders = (ours.enter_context(each) for each in socket.socketpair())
            self._orders.setblocking(False)
            asking, answering = (theirs.enter_context(each) for each in socket.socketpair())
            stdin = sealed_file(request.stdin, theirs)
            outputs = [self._pipe(name, ours, theirs) for name in ("stdout", "stderr")]
            #: Descriptors for the run's processes, in the order of ``worker.ENDS``.
            self._ends = [report, orders.fileno(), asking.fileno(), answering.fileno(), stdin, *outputs]
            self._theirs = ours.enter_context(theirs.pop_all())
            self._theirs.callback(orders.close)
            self._ours = ours.pop_all()

    def __enter__(self) -> FollowedRun:
        return self

    def __exit__(self, *error: object) -> None:
        self._ours.close()

    def _pipe(self, name: str, ours: contextlib.ExitStack, theirs: contextlib.ExitStack) -> int:
        """Create a pipe and return the run's end of it."""
        reading, writing = os.pipe()
        ours.callback(os.close, reading)
        theirs.callback(os.close, writing)
        os.set_blocking(reading, False)
        self._read[reading], self._names[reading] = bytearray(), name
        return writing

    def result(self, channel: socket.socket) -> dict[str, Any]:
        """Let the zygote at ``channel`` start the run, and wait for its end.

        Returns what ``Result.from_dict`` reads.

        Raises RunLost if there is no result, and OSError or ValueError if the zygote is gone.
        """
        with self._theirs:
            socket.send_fds(channel, [_head(self._limits, self._request.judged)], self._ends)
        fate = self._fate(channel)
        for descriptor in self._names:
            self._take(descriptor)
        texts = {name: bytes(self._read[descriptor]) for descriptor, name in self._names.items()}
        most = int(self._limits.output_kib * KIB)
        return {
            **self._verdict(fate, texts["report"]),
            "stdout": texts["stdout"][:most].decode("utf-8", "replace"),
            "stderr": texts["stderr"][:most].decode("utf-8", "replace"),
            "seconds": fate.seconds,
            "cpu_seconds": fate.cpu_seconds,
            "shared_process": self._request.shared_process,
        }

    def _fate(self, channel: socket.socket) -> RunFate:
        """Send the job and read the run's output until the zygote reports the end of the run."""
        poll = select.poll()
        poll.register(channel, select.POLLIN)
        if self._send():
            poll.register(self._orders, select.POLLOUT)
        deadline = time.monotonic() + self._limits.wall_seconds + ANSWER
        reading = False
        while (left := deadline - time.monotonic()) > 0:
            found = poll.poll(math.ceil(1000 * (left if reading else min(left, QUIET))))
            if not found and not reading:
                reading = True
                for descriptor in self._names:
                    poll.register(descriptor, select.POLLIN)
            for descriptor, _ in found:
                if descriptor == channel.fileno():
                    if not (told := channel.recv(SHORT)):
                        raise EOFError("the sandbox zygote is gone")
                    return RunFate.decoded(told)
                going_on = self._take(descriptor) if descriptor in self._names else self._send()
                if not going_on:
                    poll.unregister(descriptor)
                if self._too_much is not None:
                    channel.send(END)
                    poll = select.poll()  # wait only for the fate
                    poll.register(channel, select.POLLIN)
                    break
        raise RunLost(f"no answer came within {ANSWER:g} s after the run's time")

    def _send(self) -> bool:
        """Send as much of the job as possible without blocking. Returns whether some is left."""
        try:
            while self._rest:
                self._rest = self._rest[self._orders.send(self._rest) :]
        except BlockingIOError:
            return True
        except OSError:  # the reader is gone: the zygote reports why
            pass
        return False

    def _take(self, descriptor: int) -> bool:
        """Read the available data and note if it exceeds the limit. Returns whether more may come."""
        name, held = self._names[descriptor], self._read[descriptor]
        most = REPORT if name == "report" else int(self._limits.output_kib * KIB)
        while len(held) <= most:
            try:
                more = os.read(descriptor, 64 * KIB)
            except BlockingIOError:
                return True
            if not more:
                return False
            held += more
        self._too_much = self._too_much or f"wrote more than {most // KIB} KiB to its {name}"
        return False

    def _verdict(self, fate: RunFate, report: bytes) -> dict[str, Any]:
        status, message = self._cut_short(fate)
        if status is not None:
            return {"status": status, "message": message}
        ended = self._ended(fate)
        told = _reported(report, self._token) if ended == 0 else None
        if told is not None and "ended" not in told:
            return told
        if os.WIFSIGNALED(ended):
            return self._signaled(os.WTERMSIG(ended), fate, first=self._request.judged)
        if told is not None and self._request.judged and os.WIFSIGNALED(told["ended"]):
            return self._signaled(os.WTERMSIG(told["ended"]), fate, first=False)
        code = os.WEXITSTATUS(ended if told is None else told["ended"])
        if self._request.kind != "command":
            return {"status": Status.ERROR, "message": f"exited with code {code} before the end"}
        if code == 0:
            return {"status": Status.PASSED}
        return {"status": Status.FAILED, "message": f"exit code {code}"}

    def _signaled(self, number: int, fate: RunFate, *, first: bool) -> dict[str, Any]:
        """The verdict on a process that a signal ended. Raises RunLost.

        ``first``: whether it is the run's first process.
        """
        limit = self._limits.cpu_seconds
        # The signal of the soft limit can be caught. The hard limit, one second later, kills.
        if number == signal.SIGXCPU or (number == signal.SIGKILL and fate.cpu_seconds >= limit):
            return {"status": Status.TIMEOUT, "message": f"used more than {limit:g} s of processor time"}
        if first and number == signal.SIGKILL and not self._killable:
            raise RunLost("the run's judge was killed")
        # The program or an outside process sent it: a second run shows which.
        unexplained = number == signal.SIGKILL
        return {"status": Status.KILLED, "message": f"ended by {_name(number)}", "unexplained": unexplained}

    def _cut_short(self, fate: RunFate) -> tuple[Status | None, str]:
        """The limit for which the run was ended, if any. Raises RunLost."""
        limits = self._limits
        if fate.cause is Cause.LOST:
            raise RunLost(fate.why)
        if self._too_much is not None:
            return Status.KILLED, self._too_much
        if fate.cause is Cause.WALL_TIME:
            return Status.TIMEOUT, f"not done in {limits.wall_seconds:g} s"
        if fate.cause is Cause.CPU_TIME:
            return Status.TIMEOUT, f"used more than {limits.cpu_seconds:g} s of processor time"
        if fate.cause is Cause.MEMORY:
            return Status.MEMORY, f"used more than {limits.memory_mib} MiB"
        if fate.cause is Cause.PROCESSES:
            return Status.KILLED, f"started more than {limits.processes} processes"
        return None, ""

    def _ended(self, fate: RunFate) -> int:
        """The wait status of the judge, or of the program's process without a judge. Raises RunLost."""
        told = b""
        with contextlib.suppress(OSError):
            told = self._orders.recv(SHORT)
        said = json.loads(told.split(b"\n")[0] or b"{}")
        if "lost" in said:
            raise RunLost(str(said["lost"]))
        if self._request.judged:
            return fate.status
        if "ended" not in said:
            raise RunLost("the run's first process was killed")
        return int(said["ended"])


@lru_cache(16)
def _head(limits: Limits, judged: bool) -> bytes:
    return json.dumps({"limits": limits.as_dict(), "judged": judged}).encode()


def sealed_file(data: bytes, closing: contextlib.ExitStack) -> int:
    """A read-only descriptor of an anonymous, sealed file that holds these bytes."""
    writing = os.memfd_create("stdin", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(writing, "wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(writing, 0o444)
        fcntl.fcntl(writing, fcntl.F_ADD_SEALS, _SEALS)
        reading = os.open(f"/proc/self/fd/{writing}", os.O_RDONLY | os.O_CLOEXEC)
    closing.callback(os.close, reading)
    return reading


def _reported(report: bytes, token: str) -> dict[str, Any] | None:
    """The harness's report; None if there is none or its token is wrong."""
    try:
        told = json.loads(report)
        if told.pop("token") != token:
            return None
        if "ended" in told:
            status = told["ended"]
            return {"ended": status} if type(status) is int and 0 <= status < 1 << 16 else None
        if told["status"] in REPORTED:  # the rest is looked at by Result
            return {name: told[name] for name in ("status", "message", "tests", "lines", "program_operators")}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    return None


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
