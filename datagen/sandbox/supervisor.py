"""The first process of a run: starts the worker, holds it to its limits, and tells what became of it.

In a run's PID namespace it is process 1, so that when it ends, the kernel ends everything else in there.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import secrets
import select
import signal
import socket
import time
from collections.abc import Mapping
from typing import Any

from . import processes
from .limits import KIB, MIB, Limits
from .messages import receive, send
from .worker import Place, work

#: How often the run's memory and processor time are added up, seconds. Small tests are over before.
WATCH = 0.05
#: What the harness may report, bytes.
REPORT = 4 * MIB
TIME, MEMORY, KILLED = "timeout", "memory", "killed"
REPORTED = ("passed", "failed", "error", "vacuous", MEMORY)


class Run:
    """One run, from its start to its result."""

    def __init__(
        self, head: Mapping[str, Any], channel: socket.socket, limits: Limits, place: Place, scratch: str
    ) -> None:
        self.limits, self.place, self.judged = limits, place, bool(head["judged"])
        self.token = secrets.token_hex(16)
        self.started = time.monotonic()
        self.outcome: tuple[str, str] | None = None
        stdin, input_file = _file_without_name(scratch)
        pipes = {name: os.pipe() for name in ("stdout", "stderr", "report")}
        orders, told = socket.socketpair()
        self.worker = os.fork()
        if self.worker == 0:
            ends = (stdin, *(pipes[name][1] for name in ("stdout", "stderr", "report")), told.fileno())
            os.setsid()
            for number, end in enumerate(ends):
                os.dup2(end, number + 100)
            for number in range(len(ends)):
                os.dup2(number + 100, number, inheritable=number < 3)
            os.closerange(len(ends), 1 << 16)
            work(head, limits, place, scratch, self.token)
        # Only now, when the program's process is there: nothing of the tests is in its memory.
        self.job = receive(channel)
        with open(input_file, "w", encoding="utf-8", newline="") as file:
            file.write(self.job["stdin"])
        with contextlib.suppress(OSError), orders, told:
            told.close()
            send(orders, self.job)
        os.close(stdin)
        self.read: dict[int, bytearray] = {}
        self.names: dict[int, str] = {}
        for name, (reading, writing) in pipes.items():
            os.close(writing)
            os.set_blocking(reading, False)
            self.read[reading], self.names[reading] = bytearray(), name

    def result(self) -> dict[str, Any]:
        """Wait for the end of the worker, or end it. JSON-able: what ``Result.from_dict`` reads."""
        ended = self._watch()
        seconds = time.monotonic() - self.started
        for descriptor in list(self.names):
            self._take(descriptor)
        texts = {name: self.read[descriptor] for descriptor, name in self.names.items()}
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = used.ru_utime + used.ru_stime
        limit = self.limits.output_kib * KIB
        return {
            **self._verdict(ended, bytes(texts["report"]), cpu),
            "stdout": texts["stdout"][:limit].decode("utf-8", "replace"),
            "stderr": texts["stderr"][:limit].decode("utf-8", "replace"),
            "seconds": seconds,
            "cpu_seconds": cpu,
        }

    def _watch(self) -> int | None:
        """Read what the run says until its worker ends. The worker's wait status; None where we ended it."""
        poll = select.poll()
        ending = os.pidfd_open(self.worker)
        poll.register(ending, select.POLLIN)
        for descriptor in self.names:
            poll.register(descriptor, select.POLLIN)
        deadline = self.started + self.limits.wall_seconds
        look = self.started + WATCH
        while self.outcome is None:
            now = time.monotonic()
            if now >= deadline:
                self.outcome = (TIME, f"not done in {self.limits.wall_seconds:g} s")
                break
            if now >= look:
                self._measure()
                look = time.monotonic() + WATCH
                continue
            for descriptor, event in poll.poll(math.ceil(1000 * (min(deadline, look) - now))):
                if descriptor == ending:
                    return os.waitpid(self.worker, 0)[1]
                if not self._take(descriptor) and event & select.POLLHUP:
                    poll.unregister(descriptor)
        os.kill(self.worker, signal.SIGKILL)
        os.waitpid(self.worker, 0)
        return None

    def _take(self, descriptor: int) -> bool:
        """Read what is there; note where it is more than is allowed. False where there was nothing."""
        allowed = REPORT if self.names[descriptor] == "report" else self.limits.output_kib * KIB
        held = self.read[descriptor]
        while len(held) <= allowed:
            try:
                more = os.read(descriptor, 64 * KIB)
            except BlockingIOError:
                return True
            if not more:
                return False
            held += more
        if self.outcome is None:
            what = f"{allowed // KIB} KiB to its {self.names[descriptor]}"
            self.outcome = (KILLED, f"wrote more than {what}")
        return True

    def _measure(self) -> None:
        me = os.getpid()
        everyone = processes.everyone() if self.place.isolated else processes.below(me)
        pids = [pid for pid in everyone if pid not in (1, me)]
        judges = 1 if self.judged else 0
        used = processes.usage(pids)
        memory = self.limits.memory_mib * MIB
        if len(pids) - judges > self.limits.processes:
            self.outcome = (KILLED, f"started more than {self.limits.processes} processes")
        elif used.cpu_seconds > self.limits.cpu_seconds:
            self.outcome = (TIME, f"used more than {self.limits.cpu_seconds:g} s of processor time")
        elif used.memory > memory and processes.shared_memory(pids) > memory:
            self.outcome = (MEMORY, f"used more than {self.limits.memory_mib} MiB")

    def _verdict(self, ended: int | None, report: bytes, cpu: float) -> dict[str, Any]:
        if self.outcome is not None:
            return {"status": self.outcome[0], "message": self.outcome[1]}
        assert ended is not None
        if ended == 0 and (told := _told(report, self.token)) is not None:
            if "ended" not in told:
                return told
            ended = told["ended"]
        if os.WIFSIGNALED(ended):
            number = os.WTERMSIG(ended)
            # The soft limit's signal can be caught; the hard limit, a second later, kills.
            if number == signal.SIGXCPU or (number == signal.SIGKILL and cpu >= self.limits.cpu_seconds):
                return {
                    "status": TIME,
                    "message": f"used more than {self.limits.cpu_seconds:g} s of processor time",
                }
            # By the program itself, or from outside: out there it is run again to see which.
            return {
                "status": KILLED,
                "message": f"ended by {_name(number)}",
                "unexplained": number == signal.SIGKILL,
            }
        code = os.WEXITSTATUS(ended)
        return {"status": "exited", "message": f"exit code {code}", "code": code}


def _told(report: bytes, token: str) -> dict[str, Any] | None:
    """What the harness reported, if it did."""
    try:
        told = json.loads(report)
        if told.pop("token") != token:
            return None
        if "ended" in told:
            return {"ended": int(told["ended"])}
        if "lost" in told:
            return {"lost": told["lost"]}
        if told["status"] in REPORTED:  # the rest is looked at outside
            return {name: told[name] for name in ("status", "message", "tests", "lines", "program_operators")}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    return None


def supervise(
    head: Mapping[str, Any], channel: socket.socket, limits: Limits, place: Place, scratch: str
) -> dict[str, Any]:
    """Carry out one run in this process's namespaces: ``head`` was read from ``channel``, its job comes there.

    Never raises for what the run does.
    """
    run = Run(head, channel, limits, place, scratch)
    job, result = run.job, run.result()
    result["shared_process"] = bool(head["shared_process"])
    if result.get("status") == "exited":
        code = result.pop("code")
        if job["kind"] == "command":
            result["status"] = "passed" if code == 0 else "failed"
            result["message"] = "" if code == 0 else result["message"]
        else:
            result["status"] = "error"
            result["message"] = f"exited with code {code} before the end"
    return result


def _file_without_name(scratch: str) -> tuple[int, int]:
    """Descriptors to read a new file from, and to write it by."""
    path = os.path.join(scratch, ".stdin")
    writing = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    reading = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    os.unlink(path)
    return reading, writing


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
