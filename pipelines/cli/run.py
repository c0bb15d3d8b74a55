"""``gristmill run FILE``: run a pipeline file, or resume its run."""

from __future__ import annotations

import argparse

from .arguments import add_no_report, add_pipeline, memory_size
from .stopping import stopping

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
    add_no_report(parser)


def main(args: argparse.Namespace) -> int:
    from ..api import run
    from ..run.budget import Stop
    from ..view.choose import choose
    from .following import reporting
    from .json_output import events_alone
    from .trust import make_sure

    make_sure(args.file, args.overrides, trusted=args.trust)
    stop = Stop()
    tell = not (args.quiet or args.json)
    with events_alone(args.json) as stream:
        view = choose(quiet=args.quiet, json=args.json, stream=stream)
        with reporting(view, wanted=not args.no_report, tell=tell) as following, stopping(stop):
            run(
                args.file,
                args.run,
                executor="ray" if args.ray_address else args.executor,
                ray_address=args.ray_address,
                overrides=args.overrides,
                observer=following,
                until=args.until,
                retry_failed=args.retry_failed,
                memory=args.memory,
                stop=stop,
            )
    return 0
