"""``Sandbox``: untrusted code run in warm, isolated processes, several at a time, awaited."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from ...pipelines.errors import SandboxDied, SandboxError
from .failures import DidNotStart, NotIsolated, NotReady, RunLost
from .isolation import HOW_TO_ALLOW, Worker, start, start_as
from .jobs import Job, Request
from .launching import Isolation, installed_packages
from .limits import MIB, Limits
from .results import Result, Status

log = logging.getLogger(__name__)
UNSAFE = "`sandbox: {unsafe: true}`"


class Sandbox:
    """Runs jobs, each in a fresh process without network, home, environment or rights.

    ``limits``: of each run, where it brings none of its own. ``workers``: runs at a time (default: the cores
    that this process may use). ``packages``: let runs import this environment's installed packages.
    ``preload``: modules that every run imports anyway, imported once beforehand. ``unsafe``: where this
    machine offers no isolation, run all the same, with what limits there are. ``shared_process``: tests in the process of
    the program that they test, which can then forge its verdict.

    ``async with Sandbox() as box: result = await box.run(RunTests(program, tests))``. From any event loop
    and thread; without one, ``with`` and :meth:`run_now`. Raises SandboxError on entering where there is no
    isolation and ``unsafe`` is not asked for, where a module of ``preload`` cannot be imported, or where the first
    worker cannot be started. Whether there is isolation is decided by that one: the others run code as it does, or not at all.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        workers: int | None = None,
        packages: bool = False,
        preload: Sequence[str] = (),
        unsafe: bool = False,
        shared_process: bool = False,
    ) -> None:
        self.limits = limits or Limits()
        self.workers = workers or len(os.sched_getaffinity(0))
        self._packages = installed_packages() if packages else []
        self._preload, self._unsafe = tuple(preload), unsafe
        self._threads: ThreadPoolExecutor | None = None
        self._zygotes: list[Worker] = []
        self._idle: list[Worker] = []
        self._changed = threading.Condition()
        self._shared_process = shared_process
        self.isolation: Isolation | None = None

    def run_now(self, job: Job, limits: Limits | None = None) -> Result:
        """Carry out a job and wait for it. Never raises for what the job does; SandboxDied where the sandbox failed twice."""
        return self._submit(job, limits).result()

    async def run(self, job: Job, limits: Limits | None = None) -> Result:
        """Carry out a job. A cancelled one goes on to its end, which its limits see to. Raises as :meth:`run_now` does."""
        return await asyncio.wrap_future(self._submit(job, limits))

    def _submit(self, job: Job, limits: Limits | None) -> Future[Result]:
        if self._threads is None:
            raise SandboxError("the sandbox is not open: use it as 'with Sandbox(…) as box'")
        return self._threads.submit(self._carry_out, job, limits or self.limits)

    def _carry_out(self, job: Job, limits: Limits) -> Result:
        try:
            request = job.request(shared_process=self._shared_process)
            if len(request.stdin) > limits.scratch_mib * MIB:
                raise ValueError(f"its input is longer than the {limits.scratch_mib} MiB that its /tmp holds")
        except (ValueError, RecursionError) as error:
            return Result(Status.REFUSED, f"the job cannot be sent into the sandbox: {error}")
        try:
            return job.decided(self._once_more(request, limits))
        except RunLost as error:
            raise SandboxDied(f"the sandbox failed twice, and what it ran was not judged: {error}") from error

    def _once_more(self, request: Request, limits: Limits) -> Result:
        """The result of a run, or of a second one where the first shows nothing of the program.

        The first was lost with the sandbox, or was ended by a SIGKILL that nobody is known to have sent. The program may
        have sent it to itself: then it does so again, and that is the verdict. Raises RunLost.
        """
        try:
            first = self._run(request, limits)
        except RunLost as error:
            log.warning("a sandbox worker failed and is started again: %s", error)
            second = self._run(request, limits)
            if second.unexplained:
                raise RunLost(f"first {error}; then {second.message}") from None
            return second
        return self._run(request, limits) if first.unexplained else first

    def _run(self, request: Request, limits: Limits) -> Result:
        """One run, on a worker that has nothing else to do. Raises RunLost; that worker is then used no more."""
        worker = self._taken()
        try:
            return Result.from_dict(worker.run(request, limits), limits)
        except RunLost:
            worker.closed = True
            raise
        finally:
            self._give_back(worker)

    def _taken(self) -> Worker:
        """An idle worker, else a new one, else the next that is idle. Raises RunLost where there is none and can be none."""
        with self._changed:
            if self._idle:
                return self._idle.pop()
        try:
            return self._start()
        except (DidNotStart, NotIsolated, NotReady) as error:
            # The first worker was isolated and ready: so this is no want of isolation, and no reason to do without.
            with self._changed:
                self._changed.wait_for(lambda: self._idle or not self._zygotes)
                if self._idle:
                    return self._idle.pop()
            raise RunLost(f"no worker could be started: {error}") from error

    def _give_back(self, worker: Worker) -> None:
        with self._changed:
            if worker.closed:
                self._zygotes.remove(worker)
            else:
                self._idle.append(worker)
            self._changed.notify_all()
        if worker.closed:
            worker.close()

    def _start(self) -> Worker:
        """A worker that runs code as the first one does; that one, as well as this machine can."""
        if self.isolation is None:
            worker = start(self._packages, self._preload, unsafe=self._unsafe)
            self.isolation = worker.isolation
        else:
            worker = start_as(self.isolation.way, self._packages, self._preload)
        if self._unsafe:
            log.log(*_how_it_runs(worker.isolation))
        with self._changed:
            self._zygotes.append(worker)
        return worker

    def _open(self) -> Self:
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="sandbox")
        try:
            # One at once, so that a machine without isolation is told now; the others when they are needed.
            self._threads.submit(self._first).result()
        except BaseException:
            self.close()
            raise
        return self

    def _first(self) -> None:
        try:
            self._give_back(self._start())
        except NotIsolated as error:
            without = (
                "" if self._unsafe else f"; {HOW_TO_ALLOW}; or ask for it to run without isolation: {UNSAFE}"
            )
            raise SandboxError(
                f"generated code cannot be isolated on this machine ({error}){without}"
            ) from None
        except NotReady as error:
            raise SandboxError(
                f"the sandbox cannot import what it is to preload ({error}); `preload` may name modules of the "
                "standard library and, with `packages: true`, installed ones"
            ) from None
        except DidNotStart as error:
            raise SandboxError(
                f"the sandbox did not start, tried twice: {error}. That says nothing about isolation: the machine is "
                "short of processor time or memory; run again when it has more, or with fewer runs at a time: "
                "`sandbox: {workers: 1}`"
            ) from None

    def close(self) -> None:
        """End all workers, and wait for runs that are under way."""
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
            self._threads = None
        while self._zygotes:
            self._zygotes.pop().close()
        self._idle.clear()
        self.isolation = None

    def __enter__(self) -> Self:
        return self._open()

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self._open)

    async def __aexit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)


def _how_it_runs(isolation: Isolation) -> tuple[int, str]:
    """For the log, where ``unsafe`` is asked for: its level and its text."""
    if isolation.isolated:
        return logging.INFO, f"a sandbox worker runs code isolated, by {isolation.way}"
    user = "as nobody" if isolation.separate else f"as this user ({os.geteuid()})"
    walls = [f"Landlock {isolation.landlock}"] if isolation.landlock else []
    walls += ["seccomp"] if isolation.seccomp else []
    return logging.WARNING, (
        f"a sandbox worker is UNSAFE: it runs generated code without isolation, {user}, held by its limits"
        + "".join(f" and {wall}" for wall in walls)
    )
