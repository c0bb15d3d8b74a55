"""Seccomp filters: the system calls that are denied to runs, permanently.

Denied calls fail with EPERM and the program continues, so that libraries that only probe for a call
(io_uring, memfd_create) use a fallback. ``clone3`` and unknown newer calls fail with ENOSYS. ``clone3`` takes
its flags by pointer, which a filter cannot follow. C libraries then use ``clone``.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Iterable, Sequence

from .denied_calls import DENIED, LAST_KNOWN
from .syscalls import (
    CLONE,
    CLONE3,
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    PR_SET_SECCOMP,
    Prepared,
    number_here,
    prctl,
)

#: struct seccomp_data: int nr; u32 arch; u64 instruction_pointer; u64 args[6].
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
AUDIT_ARCHITECTURES = (0xC000003E, 0xC00000B7)
#: On x86-64 the kernel also accepts calls of the x32 ABI, whose numbers have this bit set.
X32_BIT = 0x40000000

LOAD, AND = 0x20, 0x54
JUMP_EQUAL, JUMP_GREATER, JUMP_ANY_BIT = 0x15, 0x25, 0x45
RETURN = 0x06
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
DENY = ERRNO | errno.EPERM
UNKNOWN = ERRNO | errno.ENOSYS

NAMESPACE_FLAGS = (
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID
    | CLONE_NEWNET | CLONE_NEWTIME
)  # fmt: skip
AF_UNIX = 1
#: Terminal requests that insert input into the terminal of another process.
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
SECCOMP_MODE_FILTER = 2

Instruction = tuple[int, int, int, int]


#: Calls that the zygote needs to set up runs. They are denied to the runs only.
MAKING = ("mount", "mount_setattr")


def general() -> list[Instruction]:
    """The filter of the zygote and of all processes that it starts.

    Each instruction is (code, jump if true, jump if false, constant). Raises OSError on an unknown
    architecture.
    """
    architecture = number_here(AUDIT_ARCHITECTURES)
    assert architecture is not None
    program: list[Instruction] = [
        (LOAD, 0, 0, ARCHITECTURE),
        (JUMP_EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
        (JUMP_GREATER, 0, 1, X32_BIT - 1),
        (RETURN, 0, 0, UNKNOWN),
        (JUMP_GREATER, 0, 1, LAST_KNOWN),
        (RETURN, 0, 0, UNKNOWN),
        (JUMP_EQUAL, 0, 1, CLONE3),
        (RETURN, 0, 0, UNKNOWN),
        *_refused(name for name in DENIED if name not in MAKING),
    ]
    for socket in ((41, 198), (53, 199)):  # socket, socketpair
        program += _where(socket, 0, [(JUMP_EQUAL, 1, 0, AF_UNIX), (RETURN, 0, 0, DENY)])
    program += _where((302, 261), 0, [(JUMP_EQUAL, 1, 0, 0), (RETURN, 0, 0, DENY)])  # prlimit64 of others
    for request in (TIOCSTI, TIOCLINUX):
        program += _where((16, 29), 1, [(JUMP_EQUAL, 0, 1, request), (RETURN, 0, 0, DENY)])  # ioctl
    return [*program, (RETURN, 0, 0, ALLOW)]


def of_runs() -> list[Instruction]:
    """The additional filter of runs.

    It is short, because the kernel evaluates every call on each new filter when it is installed.
    """
    return [
        (LOAD, 0, 0, NUMBER),
        *_refused(MAKING),
        *_where(CLONE, 0, [(JUMP_ANY_BIT, 0, 1, NAMESPACE_FLAGS), (RETURN, 0, 0, DENY)]),
        (RETURN, 0, 0, ALLOW),
    ]


def _refused(names: Iterable[str]) -> list[Instruction]:
    numbers = (number_here(DENIED[name]) for name in names)
    refused = [[(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, DENY)] for number in numbers if number is not None]
    return [instruction for pair in refused for instruction in pair]


def _where(numbers: tuple[int, int], argument: int, verdict: list[Instruction]) -> list[Instruction]:
    """Apply ``verdict`` to the lower 32 bits of an argument of one call. Other calls skip it."""
    number = number_here(numbers)
    assert number is not None
    return [
        (JUMP_EQUAL, 0, len(verdict) + 2, number),
        (LOAD, 0, 0, ARGUMENTS + 8 * argument),
        *verdict,
        (LOAD, 0, 0, NUMBER),
    ]


class Filter:
    """A filter in the kernel's binary format."""

    def __init__(self, program: Sequence[Instruction]) -> None:
        code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
        self._code = ctypes.create_string_buffer(code, len(code))  # the header points to it
        self._header = struct.pack("@HP", len(program), ctypes.addressof(self._code))

    def prepare(self, calls: Prepared) -> None:
        """Have a copy of this process install it."""
        calls.prctl("seccomp", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, self._header)

    def install(self) -> None:
        """Add this filter to those of this process. Needs no_new_privs.

        Raises OSError if the kernel has no seccomp.
        """
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, self._header)
