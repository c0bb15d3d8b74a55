"""``gristmill run FILE``: run a pipeline file, or resume its run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..run.events import Event, Observer, RunStarted
from .arguments import add_pipeline, memory_size
from .stopping import stopping

if TYPE_CHECKING:
    from ..api import Run

DESCRIPTION = """\
Run FILE. Results in its run directory are reused; only what is missing is made.
Ctrl-C stops cleanly (a second one at once); the same command resumes.
Exit codes: 0 done, 1 failed, 2 a mistake in the file, 3 a budget is spent, 130 stopped."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    add_pipeline(parser)
    parser.add_argument(
        "--run", metavar="DIR", help="the run directory (default: the file's `out`, else runs/NAME)"
    )
    parser.add_argument(
        "--executor", choices=("local", "ray"), default="local", help="where micro-batches run"
    )
    parser.add_argument(
        "--ray-address", metavar="ADDRESS", help="an existing cluster (implies --executor ray)"
    )
    parser.add_argument(
        "--memory",
        type=memory_size,
        metavar="SIZE",
        help="memory of this process, such as 2GB (default: the file's `memory`, else half of what is free)",
    )
    parser.add_argument("--until", metavar="STEP", help="stop after this step of the first round")
    parser.add_argument("--retry-failed", action="store_true", help="run parts with failed rows again")
    parser.add_argument("--quiet", action="store_true", help="print only warnings and the result")
    parser.add_argument("--json", action="store_true", help="print one JSON object per event")
    parser.add_argument("--no-report", action="store_true", help="do not write report.html at the end")


def main(args: argparse.Namespace) -> int:
    from ..api import open_run, run
    from ..run.budget import Stop
    from ..view.choose import choose
    from .printing import say
    from .trust import make_sure

    make_sure(args.file, args.overrides, trusted=args.trust)
    stop = Stop()
    view = Following(choose(quiet=args.quiet, json=args.json))
    try:
        with stopping(stop):
            run(
                args.file,
                args.run,
                executor="ray" if args.ray_address else args.executor,
                ray_address=args.ray_address,
                overrides=args.overrides,
                observer=view,
                until=args.until,
                retry_failed=args.retry_failed,
                memory=args.memory,
                stop=stop,
            )
    finally:
        if view.run is not None and not args.no_report:
            report = _reported(open_run(view.run))
            if not (args.quiet or args.json):
                say(f"report  {report}")
    return 0


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


class Following:
    """Forwards every event and remembers the run directory, so that a stopped run gets its report too."""

    def __init__(self, view: Observer) -> None:
        self.view = view
        self.run: str | None = None

    def on(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.run = event.run
        self.view.on(event)
