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

from ...pipelines.errors import SandboxError
from .bubblewrap import BubblewrapCalls
from .isolation import HOW_TO_ALLOW, start
from .jobs import Job
from .launching import Isolation, NotIsolated, NotReady, Zygote, ZygoteDied, installed_packages
from .limits import Limits
from .results import Result, Status

log = logging.getLogger(__name__)


class Sandbox:
    """Runs jobs, each in a fresh process without network, home, environment or rights.

    ``limits``: of each run, where it brings none of its own. ``workers``: runs at a time (default: the cores
    that this process may use). ``packages``: let runs import this environment's installed packages.
    ``preload``: modules that every run imports anyway, imported once beforehand. ``unsafe``: where this
    machine offers no isolation, run all the same, with what limits there are. ``shared_process``: tests in the process of
    the program that they test, which can then forge its verdict.

    ``async with Sandbox() as box: result = await box.run(RunTests(program, tests))``. From any event loop
    and thread; without one, ``with`` and :meth:`run_now`. Raises SandboxError on entering where there is no
    isolation and ``unsafe`` is not asked for, or where a module of ``preload`` cannot be imported.
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
        self._own = threading.local()
        self._zygotes: list[Zygote | BubblewrapCalls] = []
        self._starting = threading.Lock()
        self._shared_process = shared_process
        self.isolation: Isolation | None = None

    def run_now(self, job: Job, limits: Limits | None = None) -> Result:
        """Carry out a job and wait for it. Never raises for what the job does."""
        return self._submit(job, limits).result()

    async def run(self, job: Job, limits: Limits | None = None) -> Result:
        """Carry out a job. A cancelled one goes on to its end, which its limits see to."""
        return await asyncio.wrap_future(self._submit(job, limits))

    def _submit(self, job: Job, limits: Limits | None) -> Future[Result]:
        if self._threads is None:
            raise SandboxError("the sandbox is not open: use it as 'with Sandbox(…) as box'")
        return self._threads.submit(self._carry_out, job, limits or self.limits)

    def _carry_out(self, job: Job, limits: Limits) -> Result:
        try:
            request = job.message(limits, shared_process=self._shared_process)
        except (ValueError, RecursionError) as error:
            return Result(Status.REFUSED, f"the job cannot be sent into the sandbox: {error}")
        zygote = getattr(self._own, "zygote", None)
        if zygote is None:
            zygote = self._own.zygote = self._start()
        try:
            return job.decided(Result.from_dict(zygote.run(request, limits)))
        except ZygoteDied as error:
            log.warning("a sandbox worker died and is started again: %s", error)
            self._own.zygote = None
            with self._starting:
                self._zygotes.remove(zygote)
            return Result(Status.KILLED, "the sandbox's worker died during the run")

    def _start(self) -> Zygote | BubblewrapCalls:
        try:
            zygote = start(self._packages, self._preload, unsafe=self._unsafe)
        except NotIsolated as error:
            raise SandboxError(
                f"generated code cannot be isolated on this machine ({error}); {HOW_TO_ALLOW}; or ask for it to run "
                "without isolation: `sandbox: {unsafe: true}`"
            ) from None
        except NotReady as error:
            raise SandboxError(
                f"the sandbox cannot import what it is to preload ({error}); `preload` may name modules of the "
                "standard library and, with `packages: true`, installed ones"
            ) from None
        with self._starting:
            self._zygotes.append(zygote)
        return zygote

    def _open(self) -> Self:
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="sandbox")
        try:
            # One at once, so that a machine without isolation is told now; the others when they are needed.
            first = self._threads.submit(self._first).result()
        except BaseException:
            self.close()
            raise
        self.isolation = first.isolation
        if not self.isolation.isolated:
            log.warning("the sandbox is UNSAFE: generated code runs without isolation on this machine")
        return self

    def _first(self) -> Zygote | BubblewrapCalls:
        zygote = self._start()
        self._own.zygote = zygote
        return zygote

    def close(self) -> None:
        """End all workers, and wait for runs that are under way."""
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
            self._threads = None
        while self._zygotes:
            self._zygotes.pop().close()

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
