"""Changes to files and folders that survive a power cut: afterwards the old or the new version exists, whole.

Links are not followed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
from pathlib import Path

from .errors import StoreError

#: Folders that were replaced and are about to be removed.
FORMER = ".former"

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


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


def flush(path: Path) -> None:
    """Make a file's bytes, or the names in a folder, durable. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_tree(folder: Path) -> None:
    """Flush every file and every folder below ``folder``, and itself. Raises OSError."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
            flush(path)
    flush(folder)


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
