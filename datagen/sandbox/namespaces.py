"""Moves a process into user, mount, PID, network, IPC, UTS and cgroup namespaces of its own."""

from __future__ import annotations

import contextlib
import os
from typing import NoReturn

from . import syscalls

FLAGS = (
    syscalls.CLONE_NEWUSER
    | syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWPID
    | syscalls.CLONE_NEWNET
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWCGROUP
)
#: Namespaces of each run, inside those of the zygote.
RUN_FLAGS = syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNS
#: User id of runs, inside, if we may map more than our own id.
SEPARATE_USER = 1000
#: The same id outside: "nobody" on every Linux.
NOBODY = 65534
KILL_SIGNAL = 9
#: Root owns the machine's devices and settings even without capabilities, so no run may have its id.
AS_ROOT = " (as root, runs need the id of nobody; run as another user instead)"


def enter() -> bool:
    """Unshare, and map this process to root of its user namespace.

    The next child is process 1 of the new PID namespace. Returns whether :data:`SEPARATE_USER` is mapped too
    (to nobody), which only root may do. Raises OSError if the kernel refuses.
    """
    told, tell = os.pipe()
    mapped, done = os.pipe()
    target, user, group = os.getpid(), os.geteuid(), os.getegid()
    # Only a process that stays in the old user namespace may map ids other than its own.
    helper = os.fork()
    if helper == 0:
        os.close(tell)
        _map_when_told(target, user, group, told, done)
    os.close(told)
    os.close(done)
    try:
        syscalls.unshare(FLAGS)
        os.write(tell, b"now")
        answer = os.read(mapped, 1)
    finally:
        os.close(tell)
        os.close(mapped)
        os.waitpid(helper, 0)
    if answer not in (b"1", b"2"):
        raise OSError("the ids of a new user namespace cannot be mapped" + (AS_ROOT if user == 0 else ""))
    if answer == b"2":
        os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    return answer == b"2"


def _map_when_told(target: int, user: int, group: int, told: int, done: int) -> NoReturn:
    """Write the id maps.

    Answers 2 if runs get an id of their own, 1 if only our id is mapped, 0 if neither is possible.
    """
    if os.read(told, 3) == b"now":
        answer = b"0"
        with contextlib.suppress(OSError):
            if user == 0:
                _write(target, "gid_map", f"0 {group} 1\n{SEPARATE_USER} {NOBODY} 1\n")
                _write(target, "uid_map", f"0 {user} 1\n{SEPARATE_USER} {NOBODY} 1\n")
                answer = b"2"
            else:
                _write(target, "setgroups", "deny")
                _write(target, "gid_map", f"0 {group} 1\n")
                _write(target, "uid_map", f"0 {user} 1\n")
                answer = b"1"
        os.write(done, answer)
    os._exit(0)


def _write(target: int, name: str, text: str) -> None:
    descriptor = os.open(f"/proc/{target}/{name}", os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent ends.

    ``parent``: id of the parent. Exits if the parent has already ended.
    """
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, KILL_SIGNAL)
    if os.getppid() not in (parent, 0):  # 0: a parent outside this PID namespace, and alive
        os._exit(1)
