"""Trains in several processes of this machine, which are started, followed and ended here.

Each process has a connection to this one, which closes if either of them ends. So a lost process is noticed
at once, and no process outlives this one. The first process reports progress and the result. Losing any
process ends the others, since they cannot go on without it; then all start again from the last checkpoint.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any

from ....contracts.context import Context
from ....contracts.errors import GristmillError
from ....contracts.printable import shown
from ....contracts.training import Trained
from .job import TrainingJob, packed

#: Seconds between two checks whether the run is stopping.
CHECK_SECONDS = 0.1
#: Seconds in which the other processes fail too after one was lost. One that was killed is to blame, and may
#: be the last to end on a busy machine.
TOGETHER = 5.0
#: Seconds that processes get to end after the last one has reported.
PATIENCE = 20.0


class ProcessLost(GristmillError):
    """A process of the training ended before its time."""


def train_in_processes(job: TrainingJob, size: int, context: Context, tell: Callable[[str], None]) -> Trained:
    """Train in ``size`` processes, and again from the last checkpoint if one is lost.

    ``tell``: reports such a restart. Raises what the training or ``context.check`` raises, and ProcessLost
    after ``max_restarts`` of the step.
    """
    left = job.operator.max_restarts
    with tempfile.TemporaryDirectory(prefix="gristmill-train-") as folder:
        file = Path(folder, "job")
        file.write_bytes(packed(job))
        while True:
            try:
                with ProcessGroup(file, size) as group:
                    return group.follow(context)
            except ProcessLost as lost:
                if left == 0:
                    raise
                left -= 1
                tell(f"{lost.message}; all start again from the last checkpoint")


class ProcessGroup:
    """The processes of one attempt. They end with the ``with`` block, however it is left."""

    def __init__(self, job: Path, size: int) -> None:
        self.size = size
        self._job = job
        self._resources = ExitStack()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._logs: list[IO[bytes]] = []
        self._connections: list[Connection] = []

    def __enter__(self) -> ProcessGroup:
        meeting = self._job.with_name(f"meeting-{time.monotonic_ns()}")
        for rank in range(self.size):
            self._start(rank, meeting)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        self._resources.close()

    def follow(self, context: Context) -> Trained:
        """Pass on progress, and the wish to stop, until the training is done."""
        asked: BaseException | None = None
        while True:
            if asked is None:
                asked = self._pass_on_stop(context)
            for rank in self._ready():
                try:
                    what, content = self._connections[rank].recv()
                except (EOFError, OSError):
                    if self._is_done(rank):
                        continue
                    raise asked or self._lost() from None
                if what == "progress":
                    done, total, unit, figures = content
                    context.progress(done, total, unit, **figures)
                elif what == "trained":
                    self._let_end()
                    trained: Trained = content
                    return trained
                elif what == "failed" and asked is None:
                    raise content
                elif what == "stopped" and asked is not None:
                    raise asked

    def _ready(self) -> list[int]:
        """The processes that have something to say, after a short while at most."""
        places = {id(each): rank for rank, each in enumerate(self._connections) if not each.closed}
        open_ones = [each for each in self._connections if not each.closed]
        return [places[id(ready)] for ready in wait(open_ones, CHECK_SECONDS)]

    def _is_done(self, rank: int) -> bool:
        """Whether the process ended since its work is done: it is not waited for anymore."""
        try:
            done = self._processes[rank].wait(TOGETHER) == 0
        except subprocess.TimeoutExpired:
            return False
        if done:
            self._connections[rank].close()
        return done

    def _pass_on_stop(self, context: Context) -> BaseException | None:
        """Ask the first process to stop if the run does; all of them then write a checkpoint together."""
        try:
            context.check()
        except BaseException as error:
            with suppress(OSError):  # it has just ended; that is noticed next
                self._connections[0].send("stop")
            return error
        return None

    def _start(self, rank: int, meeting: Path) -> None:
        ours, theirs = socket.socketpair()
        log: IO[bytes] = self._resources.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self._logs.append(log)
        command = [sys.executable, "-P", "-m", f"{__package__}.process", str(self._job), str(theirs.fileno())]
        self._processes.append(
            subprocess.Popen(
                command,
                env=_environment(rank, self.size, meeting),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that they do not get the terminal's Ctrl-C
            )
        )
        theirs.close()
        self._connections.append(self._resources.enter_context(Connection(ours.detach())))

    def _let_end(self) -> None:
        end = time.monotonic() + PATIENCE
        for process in self._processes:
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                return

    def _lost(self) -> ProcessLost:
        """Name the process that ended first: the others fail only since they cannot reach it."""
        end = time.monotonic() + TOGETHER
        while time.monotonic() < end and not any(_killed(each) for each in self._processes):
            time.sleep(CHECK_SECONDS / 10)
        ended = [rank for rank, each in enumerate(self._processes) if each.poll() is not None]
        rank = next((rank for rank in ended if _killed(self._processes[rank])), ended[0] if ended else 0)
        return ProcessLost(
            f"rank {rank} of {self.size} training processes ended with {self._last_words(rank)}"
        )

    def _last_words(self, rank: int) -> str:
        """How a process ended, with the last line of its output."""
        code = self._processes[rank].poll()
        if code is None:
            return "its connection closed"
        if code < 0:
            return f"signal {signal.Signals(-code).name}"
        log = self._logs[rank]
        log.seek(max(0, log.seek(0, os.SEEK_END) - 4000))
        lines = log.read().decode(errors="replace").strip().splitlines()
        return f"exit code {code}: {shown(lines[-1])[:300]}" if lines else f"exit code {code}"


def _killed(process: subprocess.Popen[bytes]) -> bool:
    return (process.poll() or 0) < 0


def _environment(rank: int, size: int, meeting: Path) -> dict[str, Any]:
    threads = max(1, (os.cpu_count() or 1) // size)
    given = {"OMP_NUM_THREADS": str(threads), **os.environ}
    if sys.platform == "linux":
        given.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all processes are on this machine
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
    return {**given, **place, "GRISTMILL_MEETING": f"file://{meeting}"}
