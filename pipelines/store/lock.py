"""One run at a time in a run directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from ..errors import StoreError
from .files import disk


class RunLock:
    """An advisory lock that the operating system drops when its process ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "lock"
        self._handle: int | None = None

    def __enter__(self) -> RunLock:
        with disk(self.path, "cannot lock"):
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._handle, 32).decode().strip() or "unknown"
            os.close(self._handle)
            self._handle = None
            raise StoreError(
                f"{self.path.parent} is in use by another run (process {holder}): wait for it, stop it, or "
                "choose another directory with --run"
            ) from None
        with disk(self.path, "cannot lock"):
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, str(os.getpid()).encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
