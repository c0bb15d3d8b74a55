"""The sandboxes that operators share: one for each way to set it up, open until the process ends."""

from __future__ import annotations

import atexit
import os
import threading

from pydantic import Field

from ...pipelines.frozen import Frozen
from ..sandbox.limits import Limits
from ..sandbox.pool import Sandbox


class SandboxSettings(Frozen):
    """How generated code is run: the limits of each run, and what it may import."""

    wall_seconds: float = Field(default=10.0, gt=0)
    """Longest time of a run, in seconds."""
    cpu_seconds: float = Field(default=5.0, gt=0)
    """Most processor time of a run, of all its processes together, in seconds."""
    memory_mib: int = Field(default=512, gt=0)
    """Most memory of a run, of all its processes together, in MiB."""
    processes: int = Field(default=16, gt=0)
    """Most processes and threads at a time."""
    scratch_mib: int = Field(default=64, gt=0)
    """Size of the run's own `/tmp`, which lies in memory, in MiB."""
    output_kib: int = Field(default=256, gt=0)
    """Most output of a run in KiB, for standard output and standard error each."""
    packages: bool = False
    """Let the code import the packages that are installed here. By default it has the standard library
    only."""
    preload: tuple[str, ...] = ()
    """Modules to import before the first run, so that no run has to. They need `packages: true` unless they
    are of the standard library."""
    unsafe: bool = False
    """Run the code even where this machine offers no isolation, with the limits alone. By default the step
    then refuses to run."""
    shared_process: bool = False
    """Run tests and program in one process. Some tests need it (they derive classes from the program's, say),
    but the program can then forge its verdict."""
    workers: int | None = Field(default=None, gt=0)
    """Runs at a time. By default one per core."""

    def limits(self) -> Limits:
        names = ("wall_seconds", "cpu_seconds", "memory_mib", "processes", "scratch_mib", "output_kib")
        return Limits(**{name: getattr(self, name) for name in names})


#: By process too: a fork has none of its parent's threads, and must not end its parent's sandboxes.
_open: dict[tuple[int, SandboxSettings], Sandbox] = {}
_opening = threading.Lock()


def shared(settings: SandboxSettings) -> Sandbox:
    """The open sandbox with these settings. Raises SandboxError where there is no isolation."""
    key = (os.getpid(), settings)
    with _opening:
        if key not in _open:
            box = Sandbox(
                settings.limits(),
                workers=settings.workers,
                packages=settings.packages,
                preload=settings.preload,
                unsafe=settings.unsafe,
                shared_process=settings.shared_process,
            )
            _open[key] = box.__enter__()
        return _open[key]


@atexit.register
def close_all() -> None:
    """End all shared sandboxes. Those asked for later are opened anew."""
    with _opening:
        for key in [key for key in _open if key[0] == os.getpid()]:
            _open.pop(key).close()
