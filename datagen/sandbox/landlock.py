"""Landlock: a process gives up access to files for good, and the kernel enforces it.

This is the second layer of protection after the mount namespace, or the first one without namespaces. It
needs no privileges.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

from .syscalls import Prepared, call

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
ASK_VERSION = 1
RULE_PATH_BENEATH = 1
#: Bytes of such a rule: rights, and the descriptor of a path.
_RULE = 12

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
#: File rights by the ABI that introduced them: all of ABI 1, then rename across folders, truncate, ioctl.
FILE_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
#: Binding and connecting TCP ports, since ABI 4. None is granted.
NETWORK_RIGHTS = 3
#: Abstract sockets and signals to processes outside, since ABI 6.
SCOPES = 3

TRUNCATE = 1 << 14
READ_ONLY = EXECUTE | READ_FILE | READ_DIR
ON_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | 1 << 15


def abi() -> int:
    """The kernel's Landlock ABI, 1 or more; 0 if it is missing. Linux 5.13 has it if ``lsm=`` lists it."""
    try:
        return call("landlock_create_ruleset", CREATE_RULESET, None, 0, ASK_VERSION)
    except OSError:
        return 0


class Rules:
    """What a process may still do with files once it has restricted itself, made ready for many that do.

    Read and run below ``readable``, everything below ``writable`` and below the folder that they are in,
    nothing else. ``version``: what :func:`abi` said, 1 or more. Paths that do not exist are passed over.
    """

    def __init__(self, readable: Iterable[str], writable: Iterable[str], version: int) -> None:
        """Holds the paths open."""
        self._rights = 0
        for since, more in FILE_RIGHTS.items():
            self._rights |= more if since <= version else 0
        self._attributes = struct.pack("=Q", self._rights)
        if version >= 4:
            self._attributes += struct.pack("=Q", NETWORK_RIGHTS)
        if version >= 6:
            self._attributes += struct.pack("=Q", SCOPES)
        self._rules: list[bytes] = []
        for rights, paths in ((READ_ONLY & self._rights, readable), (self._rights, writable)):
            for path in paths:
                if os.path.exists(path):
                    granted = rights if os.path.isdir(path) else rights & ON_A_FILE
                    held = os.open(path, os.O_PATH | os.O_CLOEXEC)
                    self._rules.append(struct.pack("=Qi", granted, held))

    def prepare(self, calls: Prepared) -> None:
        """Restrict from then on. Needs no_new_privs."""
        ruleset, last = (
            ctypes.c_long(),
            ctypes.create_string_buffer(struct.pack("=Qi", self._rights, 0), _RULE),
        )
        beneath = ctypes.c_int.from_buffer(last, _RULE - 4)
        attributes = self._attributes, len(self._attributes), 0
        calls.add("landlock_create_ruleset", "syscall", CREATE_RULESET, *attributes, into=ruleset)
        calls.add("open the folder", "open", b".", os.O_PATH | os.O_CLOEXEC, into=beneath)
        for rule in (*self._rules, last):
            calls.add("landlock_add_rule", "syscall", ADD_RULE, ruleset, RULE_PATH_BENEATH, rule, 0)
        calls.add("landlock_restrict_self", "syscall", RESTRICT_SELF, ruleset, 0)
        calls.add("close the folder", "close", beneath)
        calls.add("close the rules", "close", ruleset)
