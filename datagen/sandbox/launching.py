"""Starts a zygote process and communicates with it from outside the sandbox."""

from __future__ import annotations

import contextlib
import json
import os
import signal
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
from .failures import DidNotStart, NotIsolated, NotReady, RunLost
from .folders import temporary_folder
from .following import FollowedRun
from .jobs import RunRequest
from .limits import Limits
from .results import Status
from .root import SCRATCH
from .worker import ENVIRONMENT

#: How a zygote enters its namespaces: by its own system calls, through bubblewrap, or not at all.
Way = Literal["namespaces", "bubblewrap", "unsafe"]

#: Inside the sandbox this folder is a top-level package. The rest of Gristmill is neither loaded nor visible.
BOOTSTRAP = """
import importlib.util, json, sys
folder = sys.argv[1]
spec = importlib.util.spec_from_file_location(
    "sandbox", folder + "/__init__.py", submodule_search_locations=[folder]
)
package = importlib.util.module_from_spec(spec)
sys.modules["sandbox"] = package
spec.loader.exec_module(package)
from sandbox.zygote import main
main(int(sys.argv[2]), json.loads(sys.argv[3]))
"""
FLAGS = ("-s", "-S", "-P", "-B", "-X", "utf8")
#: (readable paths, this folder, size of the scratch folder in MiB) -> the command that wraps a zygote in
#: namespaces.
Wrap = Callable[[Sequence[str], str, int], list[str]]
#: The path of this folder inside that command.
WRAPPED_FOLDER = "/sandbox"
#: Time for a zygote to be ready, in seconds: the first attempt, and the second (the machine may be busy).
START, PATIENT_START = 30.0, 120.0
#: Time for a process to end, in seconds: after it was told to, and after it closed its channel by itself (the
#: machine may be busy).
GONE, ENDING = 2.0, 20.0
#: Maximum size of a zygote's first message, in bytes.
FIRST_WORDS = 1 << 16
#: Of a zygote: what runs call of a library is looked up once, and not by each of them.
_BOUND = {"LD_BIND_NOW": "1"}
#: Exit codes of a launcher whose zygote was ended by SIGKILL: killed itself, or the code that we or
#: bubblewrap return.
_KILLED = (-signal.SIGKILL, 256 - signal.SIGKILL, 128 + signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Isolation:
    """The isolation that a zygote found when it started.

    ``landlock``: the Landlock ABI, 0 for none. ``separate``: runs have a user id that no other process has.
    ``cgroup``: version of the control group that holds the zygote and its runs, 0 for none.
    """

    way: Way
    isolated: bool
    landlock: int
    seccomp: bool
    separate: bool
    cgroup: int


def interpreter() -> tuple[str, list[str]]:
    """The path of the base Python, outside any virtual environment, and the folders that it needs to read."""
    python = os.path.realpath(sys.executable)
    prefixes = {os.path.realpath(prefix) for prefix in (sys.base_prefix, sys.base_exec_prefix)}
    return python, sorted(prefixes)


def installed_packages() -> list[str]:
    """The folders of this environment's packages."""
    paths = sysconfig.get_paths()
    return list(dict.fromkeys(os.path.realpath(paths[name]) for name in ("purelib", "platlib")))


class Zygote:
    """A zygote process, seen from outside. It serves one run at a time."""

    def __init__(
        self,
        way: Way,
        packages: Sequence[str] = (),
        preload: Sequence[str] = (),
        *,
        wrap: Wrap | None = None,
        scratch_mib: int = 64,
        patience: float = START,
    ) -> None:
        """Start the process, inside the command of ``wrap`` if it does not isolate itself.

        ``patience``: time for the zygote to be ready, in seconds. Raises NotIsolated, with the reason, if the
        machine refuses isolation; NotReady; and DidNotStart.
        """
        self.closed = False
        self._group: cgroups.ControlGroup | None = None
        with contextlib.ExitStack() as started:
            try:
                told = self._start(started, way, packages, preload, wrap, scratch_mib, patience)
            except OSError as error:  # no process, descriptor or file to be had
                raise DidNotStart(f"{type(error).__name__}: {error}") from error
            self._end = started.pop_all()
        if self._group is not None and not self._group.ready():
            self._group.close()
            self._group = None
        version = 0 if self._group is None else self._group.version
        self.isolation = Isolation(
            way, told["isolated"], told["landlock"], told["seccomp"], told["separate"], version
        )
        self._kills = cgroups.kills_for_memory()

    def _start(
        self,
        started: contextlib.ExitStack,
        way: Way,
        packages: Sequence[str],
        preload: Sequence[str],
        wrap: Wrap | None,
        scratch_mib: int,
        patience: float,
    ) -> dict[str, Any]:
        """The zygote's ready message. ``started`` ends everything that was started, also on failure."""
        python, readable = interpreter()
        settings = {
            "way": way,
            "readable": [*readable, *packages],
            "packages": list(packages),
            "preload": list(preload),
            "scratch": started.enter_context(temporary_folder()) if way == "unsafe" else SCRATCH,
        }
        folder = str(Path(__file__).resolve().parent)
        around = [] if wrap is None else wrap(settings["readable"], folder, scratch_mib)
        inside = folder if wrap is None else WRAPPED_FOLDER
        self._group = cgroups.make()
        if self._group is not None:
            started.callback(self._group.close)
        self._channel, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        started.callback(self._channel.close)
        start = [*around, python, *FLAGS, "-c", BOOTSTRAP, inside, str(inner.fileno()), json.dumps(settings)]
        with inner, tempfile.TemporaryFile("w+", errors="replace") as said:
            self._process = subprocess.Popen(
                start if self._group is None else self._group.command(start),
                env={**ENVIRONMENT, **_BOUND},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=[inner.fileno()],
                start_new_session=True,
            )
            started.callback(self._end_process)
            inner.close()
            told = self._first_words(patience)
            said.seek(0)
            reason = said.read().strip()
        if not told.get("ready"):
            why = told.get("reason") or reason[-500:] or "it ended without a word"
            raise NotReady(why) if told.get("placed") else NotIsolated(why)
        return told

    def _first_words(self, patience: float) -> dict[str, Any]:
        """The zygote's first message; empty if it exited before sending one."""
        self._channel.settimeout(patience)
        try:
            told: dict[str, Any] = json.loads(self._channel.recv(FIRST_WORDS) or b"{}")
            self._channel.settimeout(None)
        except TimeoutError:
            raise DidNotStart(f"it was not ready within {patience:g} s") from None
        except OSError:
            told = {}
        if not told:
            with contextlib.suppress(subprocess.TimeoutExpired):
                if self._process.wait(ENDING) in _KILLED:
                    raise DidNotStart("it was killed before it was ready") from None
        return told

    def run(self, request: RunRequest, limits: Limits) -> dict[str, Any]:
        """Run once. Returns what ``Result.from_dict`` reads. Raises RunLost; the zygote is then unusable."""
        answer: dict[str, Any] = {}
        lost = None
        try:
            if self._group is not None:
                self._group.hold(limits)
            with FollowedRun(request, limits, killable=self.isolation.way != "namespaces") as run:
                answer = run.result(self._channel)
        except (RunLost, EOFError, OSError, ValueError) as error:
            lost = str(error) or type(error).__name__
        # Check memory whatever the outcome: one of several processes may have been killed while the others
        # waited.
        want = self._short_of_memory(unexplained=lost is not None or answer.get("unexplained") is True)
        if want == "own":
            self.closed = lost is not None
            return answer | {"status": Status.MEMORY, "message": f"used more than {limits.memory_mib} MiB"}
        if want == "others":
            raise RunLost("the kernel ended a process of it because the machine's memory was short")
        if lost is not None:
            raise RunLost(str(lost))
        return answer

    def _short_of_memory(self, unexplained: bool) -> cgroups.Want | None:
        if self._group is not None:
            try:
                return self._group.short_of_memory()
            except OSError:
                return None
        if not unexplained:
            return None
        # Without a control group, whose process was killed, and whose memory use caused it, is unknown:
        # assume this run.
        before, self._kills = self._kills, cgroups.kills_for_memory()
        return "others" if self._kills > before else None

    @property
    def pid(self) -> int:
        """Process id of the launcher, the root of all processes of this zygote."""
        return self._process.pid

    def close(self) -> None:
        """Stop the zygote and all of its processes, and remove their files."""
        self.closed = True
        self._end.close()

    def _end_process(self) -> None:
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(GONE)
        except subprocess.TimeoutExpired:
            self._process.kill()  # the zygote dies with it, and all runs with the zygote
            self._process.wait()
