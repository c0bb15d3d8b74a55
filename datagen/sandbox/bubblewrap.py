"""Isolation by ``bwrap``, for machines where only ``bwrap`` may create namespaces.

It may do so by a set-user-id bit or an AppArmor profile of its own. Processes inside it cannot create further
namespaces. So each run starts ``bwrap`` again, and no process stays warm.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import Any

from .failures import DidNotStart, NotIsolated, NotReady, RunLost
from .jobs import RunRequest
from .launching import START, WRAPPED_FOLDER, Zygote
from .limits import MIB, Limits
from .root import ETC, SCRATCH, SYSTEM

PROGRAM = "bwrap"
USER = 1000


def command(readable: Sequence[str], folder: str, scratch_mib: int) -> list[str]:
    """``bwrap`` and its arguments: the same root as in ``root.py``, with all namespaces unshared."""
    arguments = [
        shutil.which(PROGRAM) or PROGRAM,
        "--unshare-all",
        "--as-pid-1",  # a run cannot end its supervisor
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
    ]
    arguments += ["--uid", str(USER), "--gid", str(USER), "--hostname", "sandbox"]
    arguments += ["--size", str(scratch_mib * MIB), "--tmpfs", SCRATCH, "--proc", "/proc", "--dev", "/dev"]
    for path in dict.fromkeys((*SYSTEM, *ETC, *readable)):
        if os.path.islink(path):
            arguments += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            arguments += ["--ro-bind", path, path]
    arguments += ["--ro-bind", folder, WRAPPED_FOLDER]
    for path in ("/dev", "/"):
        arguments += ["--remount-ro", path]
    return [*arguments, "--chdir", SCRATCH, "--"]


class BubblewrapCalls:
    """A replacement for a zygote that starts ``bwrap`` for every run."""

    def __init__(
        self, packages: Sequence[str] = (), preload: Sequence[str] = (), *, patience: float = START
    ) -> None:
        """Start one on trial.

        Raises NotIsolated, with the reason, if ``bwrap`` is missing or may not create namespaces; NotReady;
        and DidNotStart.
        """
        if os.geteuid() == 0:
            # bubblewrap maps only our own id: runs would own the files of root, such as /dev/null.
            raise NotIsolated("bubblewrap would run the code as root; run as another user")
        if shutil.which(PROGRAM) is None:
            raise NotIsolated("bubblewrap is not installed")
        self._packages, self._preload = packages, preload
        self.closed = False
        trial = self._call(Limits(), patience)
        self.isolation = trial.isolation
        trial.close()

    def _call(self, limits: Limits, patience: float = START) -> Zygote:
        scratch = int(limits.scratch_mib)
        return Zygote(
            "bubblewrap",
            self._packages,
            self._preload,
            wrap=command,
            scratch_mib=scratch,
            patience=patience,
        )

    def run(self, request: RunRequest, limits: Limits) -> dict[str, Any]:
        """Run once, in a new ``bwrap``. Raises RunLost."""
        try:
            once = self._call(limits)
        except (NotIsolated, NotReady, DidNotStart) as error:  # although the trial succeeded
            raise RunLost(str(error)) from error
        try:
            return once.run(request, limits)
        finally:
            once.close()

    def close(self) -> None:
        """Do nothing: no process stays between runs."""
