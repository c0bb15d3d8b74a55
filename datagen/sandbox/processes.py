"""Inspects and ends the processes of a run, through /proc."""

from __future__ import annotations

import os
import resource
import signal
from dataclasses import dataclass

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = resource.getpagesize()


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """Total resource use of several processes.

    ``cpu_seconds``: processor time, with that of ended children, in seconds. ``memory``: resident memory, in
    bytes.
    """

    cpu_seconds: float
    memory: int


def below(root: int) -> list[int]:
    """Ids of the living descendants of a process."""
    children: dict[int, list[int]] = {}
    for pid in everyone():
        fields = _stat(pid)
        if fields:
            children.setdefault(int(fields[1]), []).append(pid)
    found: list[int] = []
    waiting = [root]
    while waiting:
        more = children.get(waiting.pop(), [])
        found += more
        waiting += more
    return found


def everyone() -> list[int]:
    """Ids of all processes that this /proc shows."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def usage(pids: list[int]) -> ProcessUsage:
    """The current resource use of these processes. Shared memory counts once per process."""
    cpu, memory = 0.0, 0
    for pid in pids:
        fields = _stat(pid)
        if fields:
            cpu += sum(int(ticks) for ticks in fields[11:15]) / _TICKS
            memory += int(fields[21]) * _PAGE
    return ProcessUsage(cpu, memory)


def shared_memory(pids: list[int]) -> int:
    """Resident memory in bytes, with every shared page counted once. Slower than :func:`usage`, but exact."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:")) * 1024
        except OSError:
            continue
    return total


def kill_below(root: int) -> None:
    """Kill all descendants, including new ones. ``root`` must be their subreaper."""
    while pids := below(root):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                break


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third (state) on; empty if the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return []
    return text[text.rindex(b")") + 2 :].decode().split()
