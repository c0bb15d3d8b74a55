"""How much memory a whole-table step may use, and who gets which part of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from ..allocation import give_back

#: The files in which a control group (version 2, version 1) states its limit and its use.
_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
#: At least this share of the limit is given out, however much the process uses already.
LEAST_FREE = 4
#: Bytes of a task's table, at least and at most: smaller ones cost time, larger ones gain none.
TASK_BYTES = (1 << 22, 1 << 28)
#: Bytes that a task needs for a batch of texts and what it computes from them.
TASK_WORK = 1 << 26
#: A function makes about as many tables of its task's size: the rows, in order, and its result.
TABLES = 4


def default_limit() -> int:
    """Half of the memory that is free on this machine and in its control group, in bytes."""
    free: list[int] = [psutil.virtual_memory().available]
    for limit, used in _GROUPS:
        try:
            free.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no control group, or "max"
            continue
    return max(0, min(free)) // 2


@dataclass(frozen=True)
class Shares:
    """Bytes for the operator's own arrays, and for the table of one of ``width`` tasks at a time.

    ``needed``: the smallest limit that can be kept.
    """

    operator: int
    task: int
    width: int
    needed: int

    @classmethod
    def of(cls, limit: int, width: int) -> Shares:
        """Divide what the process does not use: half for the operator, half for at most ``width`` tasks."""
        give_back()
        used = psutil.Process().memory_info().rss
        free = max(limit - used, limit // LEAST_FREE)
        working = free - free // 2
        width = max(1, min(width, working // TASK_WORK))
        least, most = TASK_BYTES
        task = min(max(working // (TABLES * width), least), most)
        return cls(operator=free // 2, task=task, width=width, needed=used + 2 * TASK_WORK)
