"""Atomic writes of files and folders: after a kill or a power cut, either the old or the new version exists.

A file is written under a temporary name, flushed and renamed into place; then its folder is flushed.
Only regular files are opened: a link, a pipe or a device in place of a file is damage.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

from ...contracts.durable import flush, kind, remove, replace
from ...contracts.errors import StoreError
from .damage import Damaged

#: Files still being written; removed when a run starts.
TEMPORARY = ".writing"

#: Changes when the content of a file is changed by usual means: its inode, size and time of change.
Stamp: TypeAlias = tuple[int, int, int]


@contextmanager
def disk(path: Path, what: str) -> Iterator[None]:
    """Turn the operating system's errors about ``path`` into one sentence with a fix."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "the disk is full: free some space, then run again (committed results are kept)"
        elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            access = "read" if "read" in what else "written"
            other = "" if access == "read" else ", or choose another place with --run"
            reason = f"it cannot be {access}: check its permissions{other}"
        else:
            reason = error.strerror or str(error)
        raise StoreError(f"{what} {path}: {reason}") from error


def check_folder(path: Path) -> None:
    """Raise Damaged if a folder of a run is something else; links are not followed."""
    if (found := kind(path)) not in ("a folder", "nothing"):
        raise Damaged(path, f"it is {found}, not a folder")


def size(path: Path) -> int:
    """The size in bytes of the regular file at ``path``; -1 if there is none."""
    try:
        found = path.lstat()
    except OSError:
        return -1
    return found.st_size if stat.S_ISREG(found.st_mode) else -1


def stamp(path: Path) -> Stamp:
    """The stamp of a file as it is now; zeros if there is none."""
    try:
        found = path.lstat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A file descriptor for reading the regular file at ``path``.

    Raises Damaged if it is missing or not a regular file, StoreError if it may not be read.
    """
    found = kind(path)
    if found != "a file":
        raise Damaged(path, "it is missing" if found == "nothing" else f"it is {found}, not a file")
    with disk(path, "cannot read"):
        # The flags matter only if the file is replaced between the check and the open.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            yield handle
        finally:
            os.close(handle)


def read_bytes(path: Path, start: int = 0, stop: int | None = None) -> bytes:
    """Bytes ``start .. stop`` of the regular file at ``path``, fewer if it ends earlier.

    Raises Damaged if there is no regular file, StoreError if it may not be read.
    """
    with opened(path) as handle:
        left = (os.fstat(handle).st_size if stop is None else stop) - start
        pieces = []
        while left > 0 and (piece := os.pread(handle, left, start)):
            pieces.append(piece)
            start, left = start + len(piece), left - len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def write_bytes(path: Path, data: bytes | bytearray | memoryview, *, shared: bool = False) -> None:
    """Write, flush and rename into place. Raises StoreError (disk full, read-only, a folder in the way).

    ``shared``: other processes may write the same file at the same time.
    """
    own = f".{uuid4().hex}" if shared else ""
    temporary = path.with_name(f"{path.name}{own}{TEMPORARY}")
    with disk(path, "cannot write"):
        remove(temporary)
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            replace(temporary, path)
        except OSError:
            remove(temporary)
            raise


def make_directory(path: Path) -> None:
    """Make a folder and its parents durably. Raises OSError."""
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(exist_ok=True)
        flush(path.parent)
