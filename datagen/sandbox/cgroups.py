"""Control groups: the kernel's limit on the total memory and processes of a zygote and its runs.

They cover what limits per process and periodic checks miss: memory that the kernel allocates for a run
(pipes, sockets), and growth between two checks. They are used if a group can be created next to or below the
group of this process: version 2 where the memory and pids controllers are delegated (systemd can do so),
version 1 as root.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .limits import MIB, Limits

Version = Literal[1, 2]
#: Why the kernel killed a process when memory was short: the group's own limit, or use by others (the
#: machine, a parent group).
Want = Literal["own", "others"]
CONTROLLERS = ("memory", "pids")
#: Shell code that joins the groups (the first argument is their number) and then executes the command that
#: follows.
JOIN = """
count=$1; shift
while [ "$count" -gt 0 ]; do echo 0 > "$1/cgroup.procs"; shift; count=$((count - 1)); done
exec "$@"
"""
#: Age at which another process may remove a group that a killed process left behind, in seconds.
STALE = 60.0
#: Time for the last processes of a group to end, in seconds. A busy machine may take long.
GONE = 30.0
#: Allowance on top of a run's limits for the kernel's own use on its behalf, in bytes and in tasks.
SPARE, SPARE_TASKS = 32 * MIB, 4
#: Bytes of a file of counts, at the most.
_LONGEST = 4096
_NAME = re.compile(r"gristmill-(\d+)-\d+")
_FILES: dict[Version, dict[str, str]] = {
    1: {
        "limit": "memory.limit_in_bytes",
        "used": "memory.usage_in_bytes",
        "swap": "memory.swappiness",
        "kills": "memory.oom_control",
        "reached": "memory.failcnt",
    },
    2: {
        "limit": "memory.max",
        "used": "memory.current",
        "swap": "memory.swap.max",
        "kills": "memory.events",
        "reached": "memory.events",
    },
}
_numbers = itertools.count()


@dataclass
class ControlGroup:
    """One control group (in version 1, one per controller), seen from outside.

    ``folders``: controller -> its folder.
    """

    version: Version
    folders: Mapping[str, Path]
    _base: tuple[int, int] = (0, 0)
    _held: tuple[int, int] | None = None
    _killed: int = 0
    _reached: int = 0
    #: Descriptors of what is counted: it is read in every run.
    _counted: dict[str, int] = field(default_factory=dict)

    def command(self, command: Sequence[str]) -> list[str]:
        """A command line that runs ``command`` in the group from its first instruction on."""
        folders = [str(folder) for folder in dict.fromkeys(self.folders.values())]
        return ["/bin/sh", "-c", JOIN, "sh", str(len(folders)), *folders, *command]

    def ready(self) -> bool:
        """Record the current use as that of the zygote.

        Returns False if no process could join the group or no limit could be set. The group is then useless.
        """
        try:
            if not all(self._read(controller, "cgroup.procs").strip() for controller in CONTROLLERS):
                return False
            memory, tasks = self._read("memory", self._file("used")), self._read("pids", "pids.current")
            self._base = (int(memory), int(tasks))
            self.hold(Limits())
        except OSError:
            return False
        with contextlib.suppress(OSError):  # a kernel without swap has no such file
            self._write("memory", self._file("swap"), 0)
        return True

    def hold(self, limits: Limits) -> None:
        """Limit the memory, /tmp files and processes of the next run, on top of the zygote's own use."""
        memory, tasks = self._base
        most = memory + int((limits.memory_mib + limits.scratch_mib) * MIB) + SPARE
        bounds = (most, tasks + limits.processes + SPARE_TASKS)
        if bounds != self._held:
            self._write("memory", self._file("limit"), bounds[0])
            self._write("pids", "pids.max", bounds[1])
            self._held = bounds
        self._killed, self._reached = self._count("kills"), self._count("reached")

    def short_of_memory(self) -> Want | None:
        """Whose memory use made the kernel kill a process of this group since :meth:`hold`; None if none.

        The kernel counts the processes that it kills, whatever the reason, and how often this group reached
        its own limit.
        """
        if self._count("kills") == self._killed:
            return None
        return "own" if self._count("reached") > self._reached else "others"

    def _count(self, what: Literal["kills", "reached"]) -> int:
        """Read a counter from a file that holds one number or one line per event."""
        if what not in self._counted:
            self._counted[what] = os.open(
                self.folders["memory"] / self._file(what), os.O_RDONLY | os.O_CLOEXEC
            )
        text = os.pread(self._counted[what], _LONGEST, 0).decode()
        if text.strip().isdigit():
            return int(text)
        name = {"kills": "oom_kill", "reached": "oom"}[what]
        lines = (line.split() for line in text.splitlines())
        return next((int(value) for key, value in lines if key == name), 0)

    def close(self) -> None:
        """Kill the remaining processes, and remove the group when the last one has ended."""
        with contextlib.suppress(OSError):
            # Otherwise a process that forks and exits could escape the kill.
            self._write("pids", "pids.max", 0)
        while self._counted:
            os.close(self._counted.popitem()[1])
        left = list(dict.fromkeys(self.folders.values()))
        deadline = time.monotonic() + GONE
        while True:
            for pid in self._members():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            left = [folder for folder in left if not _removed(folder)]
            if not left or time.monotonic() > deadline:
                return
            time.sleep(0.005)

    def _members(self) -> list[int]:
        try:
            return [int(pid) for pid in self._read("pids", "cgroup.procs").split()]
        except OSError:
            return []

    def _file(self, what: str) -> str:
        return _FILES[self.version][what]

    def _read(self, controller: str, name: str) -> str:
        return (self.folders[controller] / name).read_text()

    def _write(self, controller: str, name: str, value: int) -> None:
        (self.folders[controller] / name).write_text(str(value))


def kills_for_memory() -> int:
    """Number of processes that the kernel has killed because of memory since this machine started."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def make() -> ControlGroup | None:
    """Create a group without limits; None if this machine does not allow it."""
    try:
        mounts, own = Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text()
    except OSError:
        return None
    name = f"gristmill-{os.getpid()}-{next(_numbers)}"
    for version, parents in places(mounts, own):
        if (group := _made(version, parents, name)) is not None:
            return group
    return None


def places(mounts: str, own: str) -> Iterator[tuple[Version, dict[str, Path]]]:
    """The places where a group may be created, best first: controller -> parent folder.

    ``mounts``: the text of /proc/self/mountinfo; ``own``: that of /proc/self/cgroup.
    """
    paths = {names: path for _, names, path in (line.split(":", 2) for line in own.splitlines())}
    ones: dict[str, Path] = {}
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        root, point = left.split()[3:5]
        kind, _, options = right.split()[:3]
        if kind == "cgroup2" and (folder := _below(root, point, paths.get(""))) is not None:
            # A group that contains processes cannot delegate controllers to a child. Then create a sibling
            # group.
            yield from ((2, dict.fromkeys(CONTROLLERS, at)) for at in (folder, folder.parent))
        elif kind == "cgroup":
            for controller in set(CONTROLLERS) & set(options.split(",")):
                mine = next((path for names, path in paths.items() if controller in names.split(",")), None)
                if (folder := _below(root, point, mine)) is not None:
                    ones[controller] = folder
    if len(ones) == len(CONTROLLERS):
        yield 1, ones


def _below(root: str, point: str, path: str | None) -> Path | None:
    """The visible path of ``path`` in a hierarchy whose part below ``root`` is mounted at ``point``."""
    if path is None:
        return None
    try:
        return Path(point) / Path(path).relative_to(root)
    except ValueError:
        return None


def _made(version: Version, parents: Mapping[str, Path], name: str) -> ControlGroup | None:
    made: list[Path] = []
    try:
        if version == 2 and not set(CONTROLLERS) <= set(
            (parents["memory"] / "cgroup.subtree_control").read_text().split()
        ):
            return None
        for parent in dict.fromkeys(parents.values()):
            _sweep(parent)
            (parent / name).mkdir()
            made.append(parent / name)
        return ControlGroup(version, {controller: parent / name for controller, parent in parents.items()})
    except OSError:
        for folder in made:
            _removed(folder)
        return None


def _sweep(parent: Path) -> None:
    """Remove groups that killed processes left behind: those without processes whose creator is gone."""
    for folder in parent.glob("gristmill-*"):
        found = _NAME.fullmatch(folder.name)
        with contextlib.suppress(OSError):
            old = time.time() - folder.stat().st_ctime > STALE
            if found and old and not os.path.exists(f"/proc/{found[1]}"):
                folder.rmdir()


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
