"""``Sandbox``: runs untrusted code in warm, isolated processes, several at a time."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from ...contracts.errors import SandboxDied, SandboxError
from .failures import DidNotStart, NotIsolated, NotReady, RunLost
from .isolation import HOW_TO_ALLOW, Worker, start, start_as
from .jobs import Job, RunRequest
from .launching import Isolation, installed_packages
from .limits import MIB, Limits
from .results import JobResult, Status

log = logging.getLogger(__name__)
UNSAFE = "`sandbox: {unsafe: true}`"


class Sandbox:
    """Runs jobs, each in a fresh process without network, home folder, environment or privileges.

    ``limits``: default limits of a run. ``workers``: the number of concurrent runs, each on a zygote of its
    own (default: the cores that this process may use). ``packages``: let runs import the packages installed
    in this environment. ``preload``: modules that each zygote imports once, before any run. ``unsafe``: run
    code even if this machine offers no isolation, with the limits that remain. ``shared_process``: run tests
    in the process of the program that they test; the program can then forge its verdict.

    ``async with Sandbox() as box: result = await box.run(RunTests(program, tests))`` works from any event
    loop and thread. Without an event loop, use ``with`` and :meth:`run_now`. Entering raises SandboxError if
    there is no isolation and ``unsafe`` is false, if a module of ``preload`` cannot be imported, or if the
    first zygote cannot be started. The first zygote decides the kind of isolation. The others use the same
    kind or do not start.
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

    def run_now(self, job: Job, limits: Limits | None = None) -> JobResult:
        """Run a job and wait for its result.

        Errors of the job are part of the result. Raises SandboxDied if the sandbox itself failed twice.
        """
        return self._submit(job, limits).result()

    async def run(self, job: Job, limits: Limits | None = None) -> JobResult:
        """Run a job. Raises as :meth:`run_now` does.

        Canceling the call does not stop the job. It runs until it ends or exceeds a limit.
        """
        return await asyncio.wrap_future(self._submit(job, limits))

    def _submit(self, job: Job, limits: Limits | None) -> Future[JobResult]:
        if self._threads is None:
            raise SandboxError("the sandbox is not open: use it as 'with Sandbox(…) as box'")
        return self._threads.submit(self._carry_out, job, limits or self.limits)

    def _carry_out(self, job: Job, limits: Limits) -> JobResult:
        try:
            request = job.request(shared_process=self._shared_process)
            if len(request.stdin) > limits.scratch_mib * MIB:
                raise ValueError(f"its input is longer than the {limits.scratch_mib} MiB that its /tmp holds")
        except (ValueError, RecursionError) as error:
            return JobResult(Status.REFUSED, f"the job cannot be sent into the sandbox: {error}")
        try:
            return job.decided(self._once_more(request, limits))
        except RunLost as error:
            raise SandboxDied(f"the sandbox failed twice, and what it ran was not judged: {error}") from error

    def _once_more(self, request: RunRequest, limits: Limits) -> JobResult:
        """The result of a run, or of a second run if the first does not judge the program. Raises RunLost.

        The first run does not judge the program if the sandbox failed, or if a SIGKILL of unknown origin
        ended it. If the program sent that signal to itself, it does so again in the second run, and that is
        the verdict.
        """
        try:
            first = self._run(request, limits)
        except RunLost as error:
            log.warning("a sandbox zygote failed and is restarted: %s", error)
            second = self._run(request, limits)
            if second.unexplained:
                raise RunLost(f"first {error}; then {second.message}") from None
            return second
        return self._run(request, limits) if first.unexplained else first

    def _run(self, request: RunRequest, limits: Limits) -> JobResult:
        """Run once on an idle zygote. Raises RunLost; the zygote is then not used again."""
        worker = self._taken()
        try:
            return JobResult.from_dict(worker.run(request, limits), limits)
        except RunLost:
            worker.closed = True
            raise
        finally:
            self._give_back(worker)

    def _taken(self) -> Worker:
        """An idle zygote, a new one, or the next that becomes idle. Raises RunLost if there is none."""
        with self._changed:
            if self._idle:
                return self._idle.pop()
        try:
            return self._start()
        except (DidNotStart, NotIsolated, NotReady) as error:
            # The first zygote was isolated and ready, so isolation works here: never fall back to running
            # without it.
            with self._changed:
                self._changed.wait_for(lambda: self._idle or not self._zygotes)
                if self._idle:
                    return self._idle.pop()
            raise RunLost(f"no zygote could be started: {error}") from error

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
        """A zygote with the isolation of the first one. The first gets the best that this machine offers."""
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
            # Start one zygote now, so that a missing isolation is reported early; the others on demand.
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
                f"the sandbox cannot import what it is to preload ({error}); `preload` may name "
                "modules of the "
                "standard library and, with `packages: true`, installed ones"
            ) from None
        except DidNotStart as error:
            raise SandboxError(
                f"the sandbox did not start after two attempts: {error}. This does not mean that "
                "isolation is missing: "
                "the machine is short of processor time or memory; run again when it has more, or "
                "with fewer runs at a "
                "time: `sandbox: {workers: 1}`"
            ) from None

    def close(self) -> None:
        """Wait for active runs, then stop all zygotes."""
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
    """The level and text of the log message that is written if ``unsafe`` is true."""
    if isolation.isolated:
        return logging.INFO, f"a sandbox zygote runs code with isolation: {isolation.way}"
    user = "as nobody" if isolation.separate else f"as this user ({os.geteuid()})"
    walls = [f"Landlock {isolation.landlock}"] if isolation.landlock else []
    walls += ["seccomp"] if isolation.seccomp else []
    return logging.WARNING, (
        f"a sandbox zygote is UNSAFE: it runs generated code without isolation, {user}, held by its limits"
        + "".join(f" and {wall}" for wall in walls)
    )
