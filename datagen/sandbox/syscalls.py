"""System calls that Python does not offer, through ctypes. Each raises OSError if the kernel refuses."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Sequence
from functools import cache
from typing import Any

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_NEWTIME = 0x00000080

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
AT_FDCWD, AT_RECURSIVE = -100, 0x8000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_GET_TID_ADDRESS = 40

CLONE_CHILD_CLEARTID = 0x00200000
CLONE_CHILD_SETTID = 0x01000000
_SIGNAL_AT_END = 17  # SIGCHLD

#: Numbers of calls that differ between architectures: (x86-64, 64-bit ARM).
PIVOT_ROOT = (155, 41)
CAPSET = (126, 91)
CLONE = (56, 220)
#: A header of version 3 for the calling process, and three empty sets of 64 bits.
_NO_CAPABILITIES = struct.pack("=Ii", 0x20080522, 0), bytes(24)
#: The same on every architecture.
CLONE3 = 435
MOUNT_SETATTR = 442

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
#: For calls that fork: the GIL stays held, also in the child.
_holding = ctypes.PyDLL(None, use_errno=True)
_holding.syscall.restype = ctypes.c_long


def _machine() -> int:
    """0 for x86-64, 1 for 64-bit ARM. Raises OSError for others."""
    machine = platform.machine()
    if machine not in ("x86_64", "aarch64"):
        raise OSError(errno.ENOSYS, f"the sandbox knows x86_64 and aarch64, not {machine}")
    return 0 if machine == "x86_64" else 1


def number_here(numbers: tuple[int | None, int | None]) -> int | None:
    """This machine's number of a pair (x86-64, ARM)."""
    return numbers[_machine()]


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def call(what: str, number: int, *arguments: object) -> int:
    """Make a system call by number. Integers are passed as longs, bytes and buffers by address."""
    passed = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *passed), what)


class Prepared:
    """Calls that a fresh copy of this process is to make, made ready here.

    A copy pays for each page of memory that it touches, and what leads to a call touches many.
    """

    def __init__(self) -> None:
        self._calls: list[tuple[str, Any, Sequence[Any], Any, bool]] = []

    def add(
        self, what: str, function: str, *arguments: object, into: Any = None, needed: bool = True
    ) -> None:
        """One of the C library's functions, the next in turn. Integers are passed as longs, bytes and buffers
        by their address. ``into``: what takes the result, and may be an argument of those that follow.
        ``needed``: whether it is an error where the kernel says no.
        """
        passed = tuple(ctypes.c_long(value) if isinstance(value, int) else value for value in arguments)
        self._calls.append((what, getattr(_holding, function), passed, into, needed))

    def prctl(self, what: str, option: int, first: int = 0, second: object = None) -> None:
        self.add(what, "prctl", option, first, second, None, None)

    def mount(self, source: str, target: str, kind: str, flags: int, data: str) -> None:
        texts = (os.fsencode(value) for value in (source, target, kind))
        self.add(f"mount {kind} on {target}", "mount", *texts, flags, data.encode())

    def drop_capabilities(self) -> None:
        """Every capability of the process."""
        self.add("capset", "syscall", number_here(CAPSET), *_NO_CAPABILITIES)

    def make(self) -> None:
        for what, function, arguments, into, needed in self._calls:
            result = function(*arguments)
            if result < 0 and needed:
                _checked(result, what)
            if into is not None:
                into.value = result


def unshare(flags: int) -> None:
    _checked(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [os.fsencode(value) if value is not None else None for value in (source, target, kind)]
    options = data.encode() if data is not None else None
    _checked(_libc.mount(*encoded, ctypes.c_ulong(flags), options), f"mount {kind or source} on {target}")


def restrict_mount(target: str, attributes: int, *, recursive: bool) -> None:
    """Add attributes (such as read-only) to a mount, and to all mounts below it if ``recursive``."""
    changes = struct.pack("=QQQQ", attributes, 0, 0, 0)
    call(
        f"mount_setattr {target}",
        MOUNT_SETATTR,
        AT_FDCWD,
        os.fsencode(target),
        AT_RECURSIVE if recursive else 0,
        changes,
        len(changes),
    )


def unmount(target: str) -> None:
    """Detach a mount and all mounts below it."""
    _checked(_libc.umount2(os.fsencode(target), ctypes.c_int(MNT_DETACH)), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    number = number_here(PIVOT_ROOT)
    assert number is not None
    call("pivot_root", number, os.fsencode(new), os.fsencode(old))


def set_hostname(name: str) -> None:
    _checked(_libc.sethostname(name.encode(), ctypes.c_size_t(len(name))), "sethostname")


def prctl(option: int, first: int = 0, second: object = None) -> int:
    last = ctypes.c_void_p(None) if second is None else second
    return _checked(_libc.prctl(option, ctypes.c_ulong(first), last, None, None), f"prctl {option}")


@cache
def last_capability() -> int:
    """The highest capability that this kernel knows."""
    with open("/proc/sys/kernel/cap_last_cap") as file:
        return int(file.read())


def bound_capabilities() -> None:
    """Empty the bounding set, so that no program can regain a capability. Needs CAP_SETPCAP."""
    for capability in range(last_capability() + 1):
        prctl(PR_CAPBSET_DROP, capability)


def fork(namespaces: int = 0, *, handlers: bool = False) -> int:
    """Like ``os.fork``, with the child in new namespaces. Only for a process with one thread.

    The other work of ``os.fork`` is for processes with several threads, and is expensive. Without it, the
    child keeps the locks and the random state of this process. ``handlers``: run the fork handlers of the
    interpreter and of modules in the child.
    """
    flags, number, places = _clone_call()
    pid = _holding.syscall(number, ctypes.c_ulong(flags | namespaces), None, None, *places)
    if pid == 0 and handlers:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    return _checked(pid, "clone")


@cache
def _clone_call() -> tuple[int, ctypes.c_long, list[ctypes.c_void_p | None]]:
    """The flags of a fork, the number of the call, and its last two arguments.

    One of these is the address where the C library keeps the id of this thread. The kernel writes the id of
    the child there, as in the C library's own fork.
    """
    number, address = number_here(CLONE), ctypes.c_void_p()
    assert number is not None
    try:
        prctl(PR_GET_TID_ADDRESS, ctypes.addressof(address))
    except OSError:  # this kernel does not provide the address
        return _SIGNAL_AT_END, ctypes.c_long(number), [None, None]
    places = [address, None] if number == CLONE[0] else [None, address]
    return _SIGNAL_AT_END | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID, ctypes.c_long(number), places
