"""Sandboxes with some layers of protection disabled, for control runs of attacks.

The product itself cannot do this. These sandboxes put code in front of the bootstrap code of the zygote.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import pytest

from gristmill.datagen.sandbox import launching
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.sandbox.pool import Sandbox

#: What switches a layer off, within the waiting process.
LAYERS = {
    "seccomp": "seccomp.prctl = lambda *rest: None\noff.append('seccomp')",
    "Landlock": "off.append('landlock_restrict_self')",
    "network": "namespaces.FLAGS &= ~syscalls.CLONE_NEWNET",
    "capabilities": "off.append('capset')",
    "user": "entered = namespaces.enter\nnamespaces.enter = lambda: entered() and False",
    "bounding set": "syscalls.bound_capabilities = lambda: None",
    "not dumpable": "prctl = syscalls.prctl\nsyscalls.prctl = lambda name, *rest: name == "
    "syscalls.PR_SET_DUMPABLE or prctl(name, *rest)\n"
    "off.append('not dumpable')",
    "root": "root.enter = lambda *rest: None",
    "/proc": "off.append('mount proc on /proc')",
    "/tmp": "off.append('mount tmpfs on /tmp')",
    "environment": "zygote.set_environment = worker.set_environment = lambda scratch: None",
    "limits": "off.append('setrlimit')",
}
START = "from sandbox.zygote import main"
HEAD = """
from sandbox import namespaces, root, seccomp, syscalls, worker, zygote
#: Calls that runs do not make.
off, add = [], syscalls.Prepared.add
def add_rest(calls, what, *rest, **more):
    if what not in off:
        add(calls, what, *rest, **more)
syscalls.Prepared.add = add_rest
"""


@contextmanager
def weakened(layers: Collection[str], limits: Limits, patch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox of one worker without these layers."""
    head, tail = launching.BOOTSTRAP.split(START)
    off = "\n".join(LAYERS[layer] for layer in layers)
    with patch.context() as changed:
        changed.setattr(launching, "BOOTSTRAP", f"{head}{HEAD}{off}\n{START}{tail}")
        if "environment" in layers:
            changed.setattr(launching, "ENVIRONMENT", {**launching.ENVIRONMENT, **os.environ})
        with Sandbox(limits, workers=1) as box:
            yield box
