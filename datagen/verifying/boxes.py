"""The sandboxes that operators share: one for each way to set it up, open until the process ends."""

from __future__ import annotations

import atexit
import os
import threading

from pydantic import BaseModel, ConfigDict, Field

from ..sandbox.limits import Limits
from ..sandbox.pool import Sandbox


class SandboxSettings(BaseModel):
    """``sandbox:`` of a step. ``packages``: code may import what is installed here; ``preload``: modules to
    import beforehand. ``unsafe``: run without isolation where this machine offers none. ``shared_process``: run tests in
    the process of the program that they test, which can then forge its verdict. The rest are the
    limits of each run; see :class:`Limits`. ``workers``: runs at a time, None for one a core.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    wall_seconds: float = Field(default=10.0, gt=0)
    cpu_seconds: float = Field(default=5.0, gt=0)
    memory_mib: int = Field(default=512, gt=0)
    processes: int = Field(default=16, gt=0)
    scratch_mib: int = Field(default=64, gt=0)
    output_kib: int = Field(default=256, gt=0)
    packages: bool = False
    preload: tuple[str, ...] = ()
    unsafe: bool = False
    shared_process: bool = False
    workers: int | None = Field(default=None, gt=0)

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
