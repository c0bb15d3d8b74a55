"""Landlock: the process says itself which files it will never touch again, and the kernel holds it to that.

A second wall behind the mount namespace, and the first one where there is none. Needs no privilege.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from .syscalls import call

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
ASK_VERSION = 1
RULE_PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
#: Rights over files by the ABI that brought them: all of 1, then rename across folders, truncate, ioctl.
FILE_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
#: Binding and connecting TCP ports, from ABI 4. Nothing is granted.
NETWORK_RIGHTS = 3
#: Abstract sockets and signals to processes outside, from ABI 6.
SCOPES = 3

TRUNCATE = 1 << 14
READ_ONLY = EXECUTE | READ_FILE | READ_DIR
ON_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | 1 << 15


def abi() -> int:
    """The kernel's Landlock ABI, from 1; 0 where it has none (5.13 has, if it is among ``lsm=``)."""
    try:
        return call("landlock_create_ruleset", CREATE_RULESET, None, 0, ASK_VERSION)
    except OSError:
        return 0


def restrict(readable: Iterable[str], writable: Iterable[str], version: int) -> None:
    """From now on: read and run below ``readable``, everything below ``writable``, and nothing else.

    ``version``: what :func:`abi` said, 1 or more. Paths that do not exist are passed over. Needs
    no_new_privs. Raises OSError where the kernel refuses.
    """
    rights = 0
    for since, more in FILE_RIGHTS.items():
        rights |= more if since <= version else 0
    attributes = struct.pack("=Q", rights)
    if version >= 4:
        attributes += struct.pack("=Q", NETWORK_RIGHTS)
    if version >= 6:
        attributes += struct.pack("=Q", SCOPES)
    ruleset = call("landlock_create_ruleset", CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path in readable:
            _allow(ruleset, path, READ_ONLY & rights)
        for path in writable:
            _allow(ruleset, path, rights)
        call("landlock_restrict_self", RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        granted = rights if os.path.isdir(path) else rights & ON_A_FILE
        call(
            "landlock_add_rule", ADD_RULE, ruleset, RULE_PATH_BENEATH, struct.pack("=Qi", granted, beneath), 0
        )
    finally:
        os.close(beneath)
