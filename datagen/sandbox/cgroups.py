"""Control groups: the kernel's own bound on all the memory and processes of a sandbox worker and its runs together.

What the limits of single processes, and looking now and then, cannot hold: memory that the kernel takes on a run's
behalf (pipes, sockets), and what grows between two looks. Used where one may be made beside or below this process's
own: version 2 where systemd, say, delegates the memory and pids controllers, version 1 as root.
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
#: Why the kernel ended a process for want of memory: a group's own bound, or what others use (the machine, a group above).
Want = Literal["own", "others"]
CONTROLLERS = ("memory", "pids")
#: Joins the groups, of which there are as many as the first argument says, and becomes the command that follows.
JOIN = """
count=$1; shift
while [ "$count" -gt 0 ]; do echo 0 > "$1/cgroup.procs"; shift; count=$((count - 1)); done
exec "$@"
"""
#: What was left by a process that was killed may be removed by another after this long, seconds.
STALE = 60.0
#: For the last processes of a group to be gone, seconds. A busy machine may take long.
GONE = 30.0
#: Beyond a run's limits of memory and files: what the kernel holds for it in proportion, bytes and tasks.
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
class Group:
    """One control group (of version 1: one for each controller), from outside. ``folders``: controller -> its folder."""

    version: Version
    folders: Mapping[str, Path]
    _base: tuple[int, int] = (0, 0)
    _held: tuple[int, int] | None = None
    _killed: int = 0
    _reached: int = 0
    #: Descriptors of what is counted: it is read in every run.
    _counted: dict[str, int] = field(default_factory=dict)

    def command(self, command: Sequence[str]) -> list[str]:
        """The command, run within the group from its first instruction on."""
        folders = [str(folder) for folder in dict.fromkeys(self.folders.values())]
        return ["/bin/sh", "-c", JOIN, "sh", str(len(folders)), *folders, *command]

    def ready(self) -> bool:
        """Take what is used now as the worker's own. False where nothing could join, or no bound be set: it is of no use."""
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
        """Bound the next run: its memory and the files in its /tmp, and its processes, beyond the worker's own."""
        memory, tasks = self._base
        most = memory + int((limits.memory_mib + limits.scratch_mib) * MIB) + SPARE
        bounds = (most, tasks + limits.processes + SPARE_TASKS)
        if bounds != self._held:
            self._write("memory", self._file("limit"), bounds[0])
            self._write("pids", "pids.max", bounds[1])
            self._held = bounds
        self._killed, self._reached = self._count("kills"), self._count("reached")

    def short_of_memory(self) -> Want | None:
        """For want of whose memory the kernel has ended a process in here since :meth:`hold`; None where it has not.

        The kernel counts each process that it ends, whoever was short of memory, and how often this group came to its
        own bound.
        """
        if self._count("kills") == self._killed:
            return None
        return "own" if self._count("reached") > self._reached else "others"

    def _count(self, what: Literal["kills", "reached"]) -> int:
        """Of a file that is one number, or has a line for each event."""
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
        """End what is left in it, and remove it once the last of its processes is gone."""
        with contextlib.suppress(OSError):
            self._write("pids", "pids.max", 0)  # or one that forks and ends is never caught
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
    """How many processes the kernel has ended for want of memory on this machine since it started."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def make() -> Group | None:
    """A new group without limits yet; None where this machine lets us have none."""
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
    """Where a group could be made: for each controller, the folder to make it in. Best first.

    ``mounts``: the text of /proc/self/mountinfo; ``own``: that of /proc/self/cgroup.
    """
    paths = {names: path for _, names, path in (line.split(":", 2) for line in own.splitlines())}
    ones: dict[str, Path] = {}
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        root, point = left.split()[3:5]
        kind, _, options = right.split()[:3]
        if kind == "cgroup2" and (folder := _below(root, point, paths.get(""))) is not None:
            # A group with processes in it gives its controllers to none below it: then a sister, not a daughter.
            yield from ((2, dict.fromkeys(CONTROLLERS, at)) for at in (folder, folder.parent))
        elif kind == "cgroup":
            for controller in set(CONTROLLERS) & set(options.split(",")):
                mine = next((path for names, path in paths.items() if controller in names.split(",")), None)
                if (folder := _below(root, point, mine)) is not None:
                    ones[controller] = folder
    if len(ones) == len(CONTROLLERS):
        yield 1, ones


def _below(root: str, point: str, path: str | None) -> Path | None:
    """Where ``path`` of a hierarchy shows, of which the part from ``root`` on is mounted at ``point``."""
    if path is None:
        return None
    try:
        return Path(point) / Path(path).relative_to(root)
    except ValueError:
        return None


def _made(version: Version, parents: Mapping[str, Path], name: str) -> Group | None:
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
        return Group(version, {controller: parent / name for controller, parent in parents.items()})
    except OSError:
        for folder in made:
            _removed(folder)
        return None


def _sweep(parent: Path) -> None:
    """Remove what processes left that were killed: groups without a process, whose maker is gone."""
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
