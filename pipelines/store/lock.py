"""The lock that allows only one run at a time in a run directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from ...contracts.durable import kind
from ...contracts.errors import StoreError
from .damage import set_aside
from .files import disk


class RunLock:
    """An advisory lock that the operating system releases when the process ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "lock"
        self._handle: int | None = None

    def __enter__(self) -> RunLock:
        while True:
            self._handle = self._take()
            # If the file was replaced between opening and locking it, the new one counts.
            if kind(self.path) == "a file" and os.path.samestat(os.fstat(self._handle), self.path.lstat()):
                break
            os.close(self._handle)
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

    def _take(self) -> int:
        if kind(self.path) not in ("nothing", "a file"):
            aside = set_aside(self.path, self.path.parent)
            if aside is None:
                raise StoreError(
                    f"{self.path} is {kind(self.path)}, not a file, and cannot be moved: remove it"
                )
        with disk(self.path, "cannot lock"):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            handle = os.open(self.path, flags, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 32).decode(errors="replace").strip("\0 \n") or "unknown"
            os.close(handle)
            raise StoreError(
                f"{self.path.parent} is in use by another run (process {holder}): wait for it, stop it, or "
                "choose another directory with --run"
            ) from None
        return handle
