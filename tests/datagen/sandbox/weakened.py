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
    "seccomp": "seccomp.prctl = lambda *rest: None",
    "Landlock": "landlock.call = lambda name, *rest: 0 if 'restrict' in name else syscalls.call(name, *rest)",
    "network": "namespaces.FLAGS &= ~syscalls.CLONE_NEWNET",
    "capabilities": "syscalls.drop_capabilities = lambda: None",
    "user": "entered = namespaces.enter\nnamespaces.enter = lambda: entered() and False",
    "bounding set": "syscalls.bound_capabilities = lambda: None",
    "not dumpable": "prctl = syscalls.prctl\nsyscalls.prctl = lambda name, *rest: name == syscalls.PR_SET_DUMPABLE or prctl(name, *rest)",
    "root": "root.enter = lambda *rest: None",
    "/proc": "unmounted.append('proc')",
    "/tmp": "unmounted.append('tmpfs')",
    "environment": "zygote.set_environment = worker.set_environment = lambda scratch: None",
    "limits": "worker.resource = SimpleNamespace(**{**vars(resource), 'setrlimit': lambda *rest: None})",
}
START = "from sandbox.zygote import main"
HEAD = """
import resource
from types import SimpleNamespace
from sandbox import landlock, namespaces, root, seccomp, syscalls, worker, zygote
#: File systems of a run's own that it does not get.
unmounted, enter_run, mount = [], root.enter_run, syscalls.mount
def mount_rest(source, target, kind, *rest):
    if kind not in unmounted:
        mount(source, target, kind, *rest)
def enter(*rest):
    root.syscalls.mount = mount_rest
    enter_run(*rest)
    root.syscalls.mount = mount
root.enter_run = enter
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
