"""How the threads of a training wait for each other on a CPU: spinning, or asleep if other programs run too.

An operation ends when its slowest thread does. OpenMP's threads spin for milliseconds before they sleep,
which is fastest while each has a processor of its own. If other programs need the processors, a spinning
thread keeps one from the very thread that it waits for. libgomp reads its policy only once, when it is loaded
(``OMP_WAIT_POLICY``), with one exception: while it manages more threads than there are processors, threads
sleep almost at once (libgomp's manual, on ``GOMP_SPINCOUNT``). So a few idle threads are started to make the
others sleep, and are ended to let them spin.

The threads that compute, and their number, stay the same, and so do the bits of the result.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

#: Seconds between two looks at the load.
LOOK = 0.25
#: Share of the time that threads were kept from running above which they sleep while they wait. On an idle
#: machine it is below 0.02, whether they spin or sleep.
CROWDED = 0.1
#: Variables by which a user chooses how threads wait.
CHOSEN = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
THREADS = Path("/proc/self/task")


@contextmanager
def waiting_by_load() -> Iterator[None]:
    """Let threads spin or sleep by the load of the machine while the block runs.

    Does nothing with one thread, without libgomp, on other systems than Linux, and if the user has chosen
    (``OMP_WAIT_POLICY``, ``GOMP_SPINCOUNT``).
    """
    libraries = [] if torch.get_num_threads() == 1 or any(each in os.environ for each in CHOSEN) else loaded()
    if not libraries or not THREADS.exists():
        yield
        return
    done, crowd = threading.Event(), Crowd(libraries)
    watch = threading.Thread(target=follow, args=(crowd, Delays().share, done), name="load", daemon=True)
    watch.start()
    try:
        yield
    finally:
        done.set()
        watch.join()


def follow(crowd: Crowd, kept_waiting: Callable[[], float], done: threading.Event) -> None:
    """Adapt to the load until ``done``. ``kept_waiting``: see :meth:`Delays.share`."""
    while not done.wait(LOOK):
        if (kept_waiting() > CROWDED) != crowd.there:
            crowd.leave() if crowd.there else crowd.come()
    crowd.leave()


class Delays:
    """Measures how long threads of this process could have run and had no processor."""

    def __init__(self, threads: Path = THREADS) -> None:
        self._threads = threads
        self._seen, self._when = self._delays(), time.monotonic_ns()

    def share(self) -> float:
        """Return the sum of the threads' delays since the last call, as a share of the time since then."""
        before, since = self._seen, self._when
        self._seen, self._when = self._delays(), time.monotonic_ns()
        delayed = sum(delay - before.get(thread, 0) for thread, delay in self._seen.items())
        return delayed / max(1, self._when - since)

    def _delays(self) -> dict[str, int]:
        """Return the nanoseconds that each thread has waited for a processor (proc(5), schedstat)."""
        found = {}
        for thread in self._threads.iterdir():
            with suppress(OSError, ValueError, IndexError):  # it has ended, or the kernel does not count
                found[thread.name] = int((thread / "schedstat").read_text().split()[1])
        return found


class Crowd:
    """Idle threads of libgomp, as many as make its threads more than the processors."""

    def __init__(self, libraries: Sequence[ctypes.CDLL]) -> None:
        self._libraries = libraries
        self._left = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def there(self) -> bool:
        return self._thread is not None

    def come(self) -> None:
        """Start the threads. They sleep until :meth:`leave`."""
        came, self._left = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._stay, args=(came, self._left), name="crowd", daemon=True)
        self._thread.start()
        came.wait()

    def leave(self) -> None:
        """End the threads, if they are there: a team of libgomp ends with the thread that started it."""
        if self._thread is not None:
            self._left.set()
            self._thread.join()
        self._thread = None

    def _stay(self, came: threading.Event, left: threading.Event) -> None:
        for library in self._libraries:
            count = max(2, library.omp_get_num_procs() - torch.get_num_threads() + 2)
            # An empty parallel region: each thread asks for its own number.
            library.GOMP_parallel(ctypes.cast(library.omp_get_thread_num, ctypes.c_void_p), None, count, 0)
        came.set()
        left.wait()


def loaded() -> list[ctypes.CDLL]:
    """Return every libgomp that this process has loaded: torch's own, and those of other libraries."""
    try:
        mapped = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    paths = {line.split(maxsplit=5)[-1] for line in mapped if "/libgomp" in line}
    return [ctypes.CDLL(path) for path in sorted(paths)]
