"""Starts a zygote from outside, and talks to it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from . import cgroups
from .limits import Limits
from .messages import receive
from .results import Status
from .worker import ENVIRONMENT

#: How a zygote comes into its namespaces: by its own calls, by bubblewrap, or not at all.
Way = Literal["namespaces", "bubblewrap", "unsafe"]

#: This folder is a package of its own in there: nothing above it is loaded or visible.
BOOTSTRAP = """
import importlib.util, json, sys
folder = sys.argv[1]
spec = importlib.util.spec_from_file_location("sandbox", folder + "/__init__.py", submodule_search_locations=[folder])
package = importlib.util.module_from_spec(spec)
sys.modules["sandbox"] = package
spec.loader.exec_module(package)
from sandbox.zygote import main
main(int(sys.argv[2]), json.loads(sys.argv[3]))
"""
FLAGS = ("-s", "-S", "-P", "-B", "-X", "utf8")
#: (readable paths, this folder, the scratch's MiB) -> the command that puts a zygote into namespaces.
Wrap = Callable[[Sequence[str], str, int], list[str]]
#: Where that command shows this folder.
WRAPPED_FOLDER = "/sandbox"
#: For a zygote to be ready, and beyond a run's time for its answer to come, seconds.
START, ANSWER = 30.0, 10.0


class NotIsolated(Exception):
    """A zygote could not be started: says what was refused."""


class NotReady(Exception):
    """A zygote is isolated, but what it was to import beforehand cannot be imported: says why."""


class ZygoteDied(Exception):
    """A zygote ended, or did not answer in time, during a run."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """What a zygote found when it started.

    ``landlock``: the ABI, 0 for none. ``separate``: runs have a user id that nothing else has. ``cgroup``:
    the version of the control group that it and its runs are in, 0 for none.
    """

    way: Way
    isolated: bool
    landlock: int
    seccomp: bool
    separate: bool
    cgroup: int


def interpreter() -> tuple[str, list[str]]:
    """The Python without any virtual environment around it, and what must be readable to run it."""
    python = os.path.realpath(sys.executable)
    prefixes = {os.path.realpath(prefix) for prefix in (sys.base_prefix, sys.base_exec_prefix)}
    return python, sorted(prefixes)


def installed_packages() -> list[str]:
    """The folders of this environment's packages."""
    paths = sysconfig.get_paths()
    return list(dict.fromkeys(os.path.realpath(paths[name]) for name in ("purelib", "platlib")))


class Zygote:
    """One zygote process, from outside. Serves one run at a time; use it from one thread."""

    def __init__(
        self,
        way: Way,
        packages: Sequence[str] = (),
        preload: Sequence[str] = (),
        *,
        wrap: Wrap | None = None,
        scratch_mib: int = 64,
    ) -> None:
        """Start it, within the command that ``wrap`` makes where it does not isolate itself. Raises NotIsolated, with the reason, where the machine does not let it, and NotReady."""
        python, readable = interpreter()
        settings = {
            "way": way,
            "readable": [*readable, *packages],
            "packages": list(packages),
            "preload": list(preload),
        }
        folder = str(Path(__file__).resolve().parent)
        around = [] if wrap is None else wrap(settings["readable"], folder, scratch_mib)
        inside = folder if wrap is None else WRAPPED_FOLDER
        self._channel, inner = socket.socketpair()
        start = [*around, python, *FLAGS, "-c", BOOTSTRAP, inside, str(inner.fileno()), json.dumps(settings)]
        self._group = cgroups.make()
        with inner, tempfile.TemporaryFile("w+", errors="replace") as said:
            self._process = subprocess.Popen(
                start if self._group is None else self._group.command(start),
                env=ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=[inner.fileno()],
                start_new_session=True,
            )
            inner.close()
            told = self._first_words()
            said.seek(0)
            reason = said.read().strip()
        if not told.get("ready"):
            self.close()
            why = told.get("reason") or reason[-500:] or "it ended without a word"
            raise NotReady(why) if told.get("placed") else NotIsolated(why)
        if self._group is not None and not self._group.ready():
            self._group.close()
            self._group = None
        version = 0 if self._group is None else self._group.version
        self.isolation = Isolation(
            way, told["isolated"], told["landlock"], told["seccomp"], told["separate"], version
        )

    def _first_words(self) -> dict[str, Any]:
        self._channel.settimeout(START)
        try:
            told: dict[str, Any] = receive(self._channel)
            return told
        except (EOFError, OSError):
            return {}

    def run(self, request: bytes, limits: Limits) -> dict[str, Any]:
        """One run: an encoded message with ``job`` and ``limits``. Raises ZygoteDied; it is then of no more use."""
        self._channel.settimeout(limits.wall_seconds + ANSWER)
        try:
            if self._group is not None:
                self._group.hold(limits)
            self._channel.sendall(request)
            answer: dict[str, Any] = receive(self._channel)
            # Whatever else it came to: one of several processes may have been ended, and the others have waited for it.
            if self._group is not None and self._group.ended_for_memory():
                answer |= {"status": Status.MEMORY, "message": f"used more than {limits.memory_mib} MiB"}
            return answer
        except (EOFError, OSError, ValueError) as error:
            self.close()
            raise ZygoteDied(str(error)) from error

    @property
    def pid(self) -> int:
        """Of the launcher: the root of all processes of this zygote."""
        return self._process.pid

    def close(self) -> None:
        """End it and all it started."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        self._channel.close()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()  # the zygote dies with it, and all runs with the zygote
            self._process.wait()
        if self._group is not None:
            self._group.close()
