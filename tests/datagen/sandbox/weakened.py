"""Sandboxes with layers of their protection switched off: for control runs of attacks, which must then succeed.

Nothing of the product can do this. The text that a sandbox's waiting process starts with gets more before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from gristmill.datagen.sandbox import launching
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.sandbox.pool import Sandbox

#: What switches a layer off, within the waiting process.
LAYERS = {
    "seccomp": "seccomp.install = lambda: None",
    "landlock": "landlock.restrict = lambda *rest: None",
    "network namespace": "namespaces.FLAGS &= ~syscalls.CLONE_NEWNET",
    "capabilities": "syscalls.drop_capabilities = lambda: None",
    "root": "root.enter = lambda *rest: None",
    "own /proc": "mount = root.syscalls.mount\nroot.syscalls.mount = lambda *given: None if 'subset=pid' in str(given[-1]) else mount(*given)",
    "environment": "import os\nheld = dict(os.environ)\nzygote.set_environment = worker.set_environment = lambda scratch: os.environ.update(held)",
    "limits": "worker._limit = lambda *rest: None",
    "session": "import os\nos.setsid = lambda: None",
}


@contextmanager
def weakened(layers: Iterable[str], limits: Limits, patch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox of one worker without these layers."""
    head, tail = launching.BOOTSTRAP.split("from sandbox.zygote import main")
    off = "\n".join(
        ["from sandbox import landlock, namespaces, root, seccomp, syscalls, worker, zygote"]
        + [LAYERS[layer] for layer in layers]
    )
    with patch.context() as changed:
        changed.setattr(launching, "BOOTSTRAP", f"{head}{off}\nfrom sandbox.zygote import main{tail}")
        with Sandbox(limits, workers=1) as box:
            yield box
