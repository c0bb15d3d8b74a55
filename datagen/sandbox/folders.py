"""The folders that runs without isolation write into. With isolation each run has a /tmp of its own."""

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
#: What nobody holds any more is removed by others after this long, seconds.
STALE = 60.0


@contextlib.contextmanager
def temporary_folder() -> Iterator[str]:
    """A folder for one worker's runs, removed with all that they left in it, however the worker ended.

    Removes, too, what processes of this user left that were killed themselves.
    """
    _sweep(Path(tempfile.gettempdir()))
    folder = tempfile.mkdtemp(prefix=PREFIX)
    # Others may pass through it and see nothing: each run's own folder in it belongs to the run's id.
    os.chmod(folder, 0o711)
    with _held(Path(folder)):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Lock a folder for as long as this process lives. Raises OSError where another has it."""
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
