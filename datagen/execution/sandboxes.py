"""Sandboxes that operators share: one per combination of settings, open until the process ends."""

from __future__ import annotations

import atexit
import os
import threading

from pydantic import Field

from ...contracts.frozen import Frozen
from ..sandbox.limits import HIGHEST, Limits
from ..sandbox.pool import Sandbox


class SandboxSettings(Frozen):
    """Sandbox settings for generated code: limits per run, and permitted imports."""

    wall_seconds: float = Field(default=10.0, gt=0, lt=HIGHEST)
    """Maximum duration of a run, in seconds."""
    cpu_seconds: float = Field(default=5.0, gt=0, lt=HIGHEST)
    """Maximum processor time of a run, over all its processes, in seconds."""
    memory_mib: int = Field(default=512, gt=0, lt=HIGHEST)
    """Maximum memory of a run, over all its processes, in MiB."""
    processes: int = Field(default=16, gt=0, lt=HIGHEST)
    """Maximum number of concurrent processes and threads."""
    scratch_mib: int = Field(default=64, gt=0, lt=HIGHEST)
    """Size of the run's private, in-memory `/tmp`, in MiB."""
    output_kib: int = Field(default=256, gt=0, lt=HIGHEST)
    """Maximum output of a run, for standard output and standard error each, in KiB."""
    packages: bool = False
    """Allow the code to import installed packages. By default it has only the standard library."""
    preload: tuple[str, ...] = ()
    """Modules to import once before the first run. Modules outside the standard library require `packages:
    true`."""
    unsafe: bool = False
    """Run the code with limits alone if this machine offers no isolation. By default the step then refuses to
    run."""
    shared_process: bool = False
    """Run tests and program in one process. Some tests need this (to subclass the program's classes, for
    example), but the program can then forge its verdict."""
    workers: int | None = Field(default=None, gt=0, lt=HIGHEST)
    """Number of concurrent runs. By default one per core."""

    def limits(self) -> Limits:
        names = ("wall_seconds", "cpu_seconds", "memory_mib", "processes", "scratch_mib", "output_kib")
        return Limits(**{name: getattr(self, name) for name in names})


#: Keyed by process too: a fork lacks its parent's threads, and must not close its parent's sandboxes.
_open: dict[tuple[int, SandboxSettings], Sandbox] = {}
_opening = threading.Lock()


def shared(settings: SandboxSettings) -> Sandbox:
    """Return the open sandbox with these settings. Raises SandboxError if there is no isolation."""
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
    """Close all shared sandboxes. Later requests open new ones."""
    with _opening:
        for key in [key for key in _open if key[0] == os.getpid()]:
            _open.pop(key).close()
