"""The file system of a run: a read-only root with the system's programs, this Python, and nothing else.

There is no home folder, no /run, no /sys and no /var. /etc holds only what the loader and ``getpwuid`` need.
There are five devices, which only read or write bytes. Each run has its own /tmp and /proc.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from . import syscalls
from .syscalls import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    Prepared,
)

SCRATCH = "/tmp"
USER = "sandbox"
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
ETC = ("/etc/ld.so.cache", "/etc/localtime", "/etc/alternatives")
DEVICES = ("null", "zero", "full", "random", "urandom")
LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1"}
INODES = 4096
_STAGE = "/tmp"  # any existing folder, since it is covered only in our own mount namespace


def readable(extra: Sequence[str] = ()) -> list[str]:
    """Paths of this machine that a run may read: the system's, and ``extra`` (this Python, packages)."""
    return [path for path in (*SYSTEM, *ETC, *extra) if os.path.lexists(path)]


def enter(extra: Sequence[str], user: int) -> None:
    """Build the read-only root and make it the root of this mount namespace.

    The mount namespace must be ours, in our user namespace. The new root contains a complete /proc of the PID
    namespace of this process, because the kernel lets a run mount its own /proc only if one is fully visible.
    Raises OSError if the kernel refuses a step.
    """
    syscalls.mount("none", "/", None, MS_REC | MS_PRIVATE)
    syscalls.mount("tmpfs", _STAGE, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    os.chdir(_STAGE)
    os.mkdir("old")
    os.mkdir("new")
    syscalls.pivot_root(".", "old")
    os.chdir("/")
    syscalls.mount("tmpfs", "/new", "tmpfs", MS_NOSUID, "size=1m,mode=755")
    for path in readable_below("/old", extra):
        _show(path)
    _make_etc(user)
    _make_dev()
    for folder in ("proc", SCRATCH.strip("/")):
        os.makedirs(f"/new/{folder}", exist_ok=True)
    syscalls.mount("proc", "/new/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    os.chdir("/new")
    os.mkdir("was")
    syscalls.pivot_root(".", "was")
    os.chdir("/")
    syscalls.unmount("/was")
    os.rmdir("/was")
    syscalls.restrict_mount("/", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, recursive=False)


def readable_below(old: str, extra: Sequence[str]) -> list[str]:
    return [path for path in (*SYSTEM, *ETC, *extra) if os.path.lexists(old + path)]


def _show(path: str) -> None:
    """Put one path or link of the old root at the same place in the new root, read-only."""
    source, target = f"/old{path}", f"/new{path}"
    if os.path.lexists(target):
        return  # part of a path that is already mounted
    os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
        return
    if os.path.isdir(source):
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o444))
    syscalls.mount(source, target, None, MS_BIND | MS_REC)
    syscalls.restrict_mount(target, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, recursive=True)


def _make_etc(user: int) -> None:
    os.makedirs("/new/etc", exist_ok=True)
    for name, line in (
        ("passwd", f"{USER}:x:{user}:{user}::{SCRATCH}:/bin/sh\n"),
        ("group", f"{USER}:x:{user}:\n"),
    ):
        with open(f"/new/etc/{name}", "w") as file:
            file.write(line)


def _make_dev() -> None:
    os.mkdir("/new/dev")
    for device in DEVICES:
        os.close(os.open(f"/new/dev/{device}", os.O_CREAT | os.O_WRONLY, 0o666))
        syscalls.mount(f"/old/dev/{device}", f"/new/dev/{device}", None, MS_BIND)
        # A read-only mount lets processes write to the device, but not change its mode or owner.
        syscalls.restrict_mount(f"/new/dev/{device}", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, recursive=False)
    for name, target in (*LINKS.items(), ("stderr", "/proc/self/fd/2"), ("shm", SCRATCH)):
        os.symlink(target, f"/new/dev/{name}")


def prepare_run(calls: Prepared, scratch_mib: int, user: int) -> None:
    """In a run's own mount and PID namespace: its /tmp, and its /proc, which shows only what it may look
    into.
    """
    size = f"size={scratch_mib}m,nr_inodes={INODES},mode=700,uid={user},gid={user}"
    calls.mount("tmpfs", SCRATCH, "tmpfs", MS_NOSUID | MS_NODEV, size)
    calls.mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "subset=pid,hidepid=invisible")


def covered(extra: Sequence[str]) -> list[str]:
    """What of ``extra`` a run's own /tmp would hide: an environment that was made there."""
    return [path for path in extra if path.startswith(f"{SCRATCH}/") and os.path.isdir(path)]


def hold(paths: Sequence[str]) -> dict[str, int]:
    """Descriptors of what is to be hidden, for :func:`put_back`."""
    return {path: os.open(path, os.O_PATH) for path in paths}


def put_back(held: Mapping[str, int]) -> None:
    """Over the run's own /tmp."""
    for path, descriptor in held.items():
        os.makedirs(path, mode=0o755, exist_ok=True)
        syscalls.mount(f"/proc/self/fd/{descriptor}", path, None, MS_BIND | MS_REC)
        syscalls.restrict_mount(
            path, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, recursive=True
        )
        os.close(descriptor)
