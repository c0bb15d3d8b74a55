"""``gristmill report RUN``: write the report of a run."""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run directory; the run may still be in progress")
    parser.add_argument(
        "--against",
        metavar="RUN2",
        help="another run: compare with it, in RUN/report-against-NAME.html",
    )


def main(args: argparse.Namespace) -> int:
    from ..report.build import build
    from ..store.run_directory import RunDirectory
    from .printing import say

    against = None if args.against is None else RunDirectory.open(args.against)
    say(build(RunDirectory.open(args.run), against))
    return 0
