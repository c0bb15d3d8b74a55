"""``gristmill report RUN``: write the report of a run."""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run directory; the run may still be in progress")


def main(args: argparse.Namespace) -> int:
    from ..report.build import build
    from ..store.run_directory import RunDirectory
    from .printing import say

    say(build(RunDirectory.open(args.run)))
    return 0
