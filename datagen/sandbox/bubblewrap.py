"""Isolation by ``bwrap``, for machines where only it may make namespaces (set-user-id, or an AppArmor profile of its own).

What is inside bubblewrap may then make no further ones, so each run is a call of its own: nothing is warm.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import Any

from .failures import DidNotStart, NotIsolated, NotReady, RunLost
from .jobs import Request
from .launching import START, WRAPPED_FOLDER, Zygote
from .limits import MIB, Limits
from .root import ETC, SCRATCH, SYSTEM

PROGRAM = "bwrap"
USER = 1000


def command(readable: Sequence[str], folder: str, scratch_mib: int) -> list[str]:
    """``bwrap`` and its arguments: the same root as ``root.py`` makes, with all namespaces unshared."""
    arguments = [
        shutil.which(PROGRAM) or PROGRAM,
        "--unshare-all",
        "--as-pid-1",  # what supervises a run cannot be ended from inside
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
    """In a zygote's place: a new ``bwrap`` for every run."""

    def __init__(
        self, packages: Sequence[str] = (), preload: Sequence[str] = (), *, patience: float = START
    ) -> None:
        """Try one. Raises NotIsolated, with the reason, where there is no ``bwrap`` or it is not allowed to; NotReady; and
        DidNotStart."""
        if os.geteuid() == 0:
            # bubblewrap maps one id, ours: runs would own what root owns, /dev/null for one.
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

    def run(self, request: Request, limits: Limits) -> dict[str, Any]:
        """One run. Raises RunLost."""
        try:
            once = self._call(limits)
        except (NotIsolated, NotReady, DidNotStart) as error:  # which it was not when it was tried
            raise RunLost(str(error)) from error
        try:
            return once.run(request, limits)
        finally:
            once.close()

    def close(self) -> None:
        """Nothing is kept."""
