"""Temporary folders of runs without isolation. With isolation, each run has a /tmp of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = "gristmill-sandbox-"
#: Age at which other processes remove a folder that no process holds, in seconds.
STALE = 60.0


@contextlib.contextmanager
def temporary_folder() -> Iterator[str]:
    """A folder for the runs of one zygote, removed with its contents however the zygote ended.

    Also removes folders that killed processes of this user left behind.
    """
    _sweep(Path(tempfile.gettempdir()))
    folder = tempfile.mkdtemp(prefix=PREFIX)
    # Other users may traverse it but not list it: the folder of each run belongs to the user id of the run.
    os.chmod(folder, 0o711)
    with _held(Path(folder)):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder. Raises OSError if another process holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            state = folder.lstat()
            if state.st_uid == os.geteuid() and time.time() - state.st_ctime > STALE:
                with _held(folder):
                    shutil.rmtree(folder, ignore_errors=True)
