"""Atomic writes of files and folders: after a kill or a power cut, either the old or the new version exists.

A file is written under a temporary name, flushed and renamed into place; then its folder is flushed.
Only regular files are opened: a link, a pipe or a device in place of a file is damage.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...contracts.durable import flush, flush_tree
from ...contracts.errors import StoreError
from .damage import Damaged

#: Files still being written; removed when a run starts.
TEMPORARY = ".writing"
#: Folders that were replaced and are about to be removed.
FORMER = ".former"

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


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


def kind(path: Path) -> str:
    """What is at ``path``: "nothing", "a file", "a folder", "a symbolic link" or "a special file".

    Raises StoreError if this cannot be determined.
    """
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "nothing"
    except OSError as error:
        if error.errno == errno.ELOOP:  # a folder above is a link to itself
            return "nothing"
        raise StoreError(f"cannot look at {path}: check the permissions of the folders above it") from error
    for named, is_one in (
        ("a file", stat.S_ISREG),
        ("a folder", stat.S_ISDIR),
        ("a symbolic link", stat.S_ISLNK),
    ):
        if is_one(mode):
            return named
    return "a special file"


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


def write_bytes(path: Path, data: bytes | bytearray | memoryview) -> None:
    """Write, flush and rename into place. Raises StoreError (disk full, read-only, a folder in the way)."""
    temporary = path.with_name(f"{path.name}{TEMPORARY}")
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


def replace(source: Path, target: Path) -> None:
    """Rename durably. Raises OSError."""
    os.replace(source, target)
    flush(target.parent)


def remove(path: Path) -> None:
    """Remove the file or folder at ``path``, without following links. Raises OSError."""
    if kind(path) == "a folder":
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make_directory(path: Path) -> None:
    """Make a folder and its parents durably. Raises OSError."""
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(exist_ok=True)
        flush(path.parent)


def replace_directory(ready: Path, target: Path) -> None:
    """Move the finished folder ``ready`` to ``target``, on the same file system, replacing an existing one.

    If the file system can exchange two names (Linux: ext4, xfs, btrfs, tmpfs, overlayfs), either the old or
    the new folder exists at any time. Elsewhere (NFS), a kill between two renames leaves neither, and the old
    folder under another name. Raises OSError.
    """
    flush_tree(ready)
    if kind(target) == "nothing":
        replace(ready, target)
    elif _exchange(ready, target):
        flush(target.parent)
        remove(ready)
    else:
        former = target.with_name(f".{target.name}{FORMER}")
        remove(former)
        os.rename(target, former)
        replace(ready, target)
        remove(former)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names atomically; False if the system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(other))
