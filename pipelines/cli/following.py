"""The report at the end of a run, for the commands that run one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..run.events import Event, Observer, RunStarted

if TYPE_CHECKING:
    from ..api import Run


class Following:
    """Forwards every event and remembers the run directory, so that a stopped run gets its report too."""

    def __init__(self, view: Observer) -> None:
        self.view = view
        self.run: str | None = None

    def on(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.run = event.run
        self.view.on(event)


@contextmanager
def reporting(view: Observer, *, wanted: bool, tell: bool) -> Iterator[Following]:
    """Give the observer of a run; at its end, also if it stops or fails, write its report if ``wanted``.

    ``tell``: whether to print where the report is.
    """
    from ..api import open_run
    from .printing import say

    following = Following(view)
    try:
        yield following
    finally:
        if following.run is not None and wanted:
            report = _reported(open_run(following.run))
            if tell:
                say(f"report  {report}")


def _reported(run: Run) -> Path:
    """Write the report. A damaged file is set aside, and StoreError asks to run again."""
    from ...contracts.errors import StoreError
    from ..store.damage import Damaged, set_aside

    try:
        return run.report()
    except Damaged as damaged:
        with run.directory.lock():
            aside = set_aside(damaged.path, run.path)
        raise StoreError(
            f"{damaged.path} is damaged ({damaged.what}): it is set aside as {aside}; run again, and "
            "only this file is "
            "made again"
        ) from damaged
