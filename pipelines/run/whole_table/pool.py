"""Runs tasks in threads of this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, ClassVar, Protocol, TypeAlias

#: Work that needs nothing else; picklable, if it is done in another process.
Task: TypeAlias = Callable[[], Any]

#: Seconds between two checks whether the run is stopping.
CHECK_SECONDS = 0.2


class TaskPool(Protocol):
    """Runs tasks in parallel, ``width`` at a time.

    ``apart``: in other processes, which read and write files themselves.
    """

    apart: ClassVar[bool]

    @property
    def width(self) -> int: ...

    def within(self, width: int) -> TaskPool:
        """A pool with at most so many tasks at a time in this process."""
        ...

    def run(self, tasks: Iterable[Task], done: Callable[[int, Any], None], check: Callable[[], None]) -> None:
        """Run every task, taken when it starts, and call ``done`` with the number and the result of each.

        ``done`` is called in this thread, in any order. Calls ``check`` often. Raises the first error.
        """
        ...


class ThreadTasks:
    """Arrow, NumPy and hash functions release Python's lock, so threads use the cores."""

    apart: ClassVar[bool] = False

    def __init__(self, width: int | None = None) -> None:
        self.width = width or len(os.sched_getaffinity(0))

    def within(self, width: int) -> ThreadTasks:
        return ThreadTasks(min(width, self.width))

    def run(self, tasks: Iterable[Task], done: Callable[[int, Any], None], check: Callable[[], None]) -> None:
        pool = ThreadPoolExecutor(self.width, thread_name_prefix="whole-table")
        waiting = iter(enumerate(tasks))
        running: dict[Future[Any], int] = {}
        try:
            while True:
                check()
                while len(running) < self.width and (item := next(waiting, None)) is not None:
                    running[pool.submit(item[1])] = item[0]
                if not running:
                    return
                for future in wait(running, CHECK_SECONDS, FIRST_COMPLETED).done:
                    done(running.pop(future), future.result())
        finally:
            # A task that runs ends by itself: what it writes is whole, and may be of use later.
            pool.shutdown(wait=False, cancel_futures=True)
