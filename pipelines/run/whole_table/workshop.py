"""Where the tasks of a whole-table step are carried out, and where their results are stored."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ....contracts.context import Context
from ...store.damage import Damaged, set_aside
from ...store.seal import digest
from ...store.spill import Spill, open_spill
from .pool import TaskPool
from .tasks import SpillTask


@dataclass(frozen=True)
class Workshop:
    """What the rows of a step need to compute: where, how and with how much memory.

    ``memory``: bytes for the operator's own arrays; ``task_memory``: for the table of one task. ``tell``:
    shows a sentence to the user, as a ``warning`` or not. ``run``: the run directory.
    """

    context: Context
    pool: TaskPool
    memory: int
    task_memory: int
    tell: Callable[..., None]
    run: Path

    def folder(self, name: str) -> Path:
        """The folder of the results that are stored under ``name``."""
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
        return self.context.workdir / f"{plain}-{digest(name.encode())[:12]}"

    def stored(self, path: Path, origin: str) -> Spill | None:
        """The file at ``path`` if it is whole and was made from this; a damaged one is set aside."""
        if not path.exists():
            return None
        try:
            spill = open_spill(path)
        except Damaged as damaged:
            aside = set_aside(damaged.path, self.run)
            where = f"set aside as {aside} and " if aside else ""
            self.tell(f"{damaged.path} is damaged ({damaged.what}): it is {where}made again", warning=True)
            return None
        return spill if spill.origin == origin else None

    def carry_out(self, name: str, tasks: Sequence[SpillTask]) -> list[Spill]:
        """The file that each task writes; those that are stored are not made again."""
        spills = [self.stored(task.path, task.origin) for task in tasks]
        missing = [index for index, spill in enumerate(spills) if spill is None]
        if len(missing) < len(tasks):
            self.tell(
                f"step {self.context.step}: {len(tasks) - len(missing):,} of {len(tasks):,} batches of "
                f"{name!r} are stored already and not computed again"
            )
        total = sum(task.num_rows for task in tasks)
        rows = total - sum(tasks[index].num_rows for index in missing)

        def done(place: int, spill: Spill) -> None:
            nonlocal rows
            spills[missing[place]] = spill
            rows += tasks[missing[place]].num_rows
            self.context.progress(rows, total, "rows")

        self.pool.run([tasks[index] for index in missing], done, self.context.check)
        return [spill for spill in spills if spill is not None]
