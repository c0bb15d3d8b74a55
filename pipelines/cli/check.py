"""``gristmill check RUN``: read every byte of a run, and name what is damaged."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..store.check import Finding
    from ..store.run_directory import RunDirectory

DESCRIPTION = """\
Read every byte of RUN, and name each file that is not what was written: what is wrong with it, and what the
next run makes again. What is no part of the run is named too, and left where it is. Changes nothing without
--repair. Exit codes: 0 nothing is damaged (or all of it is set aside), 1 damage."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument("run", help="a run directory")
    parser.add_argument(
        "--repair",
        action="store_true",
        help="move what is damaged to RUN/damaged, so that the next run makes it again",
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON: path, what and remedy of each finding"
    )


def main(args: argparse.Namespace) -> int:
    from ..store.check import check

    run = _open(Path(args.run))
    if args.repair:
        with run.lock():
            return _repair(run, args)
    return _tell(list(check(run)), args)


def _open(path: Path) -> RunDirectory:
    """Unlike other commands this one takes a run that lost its run.json."""
    from ..store.run_directory import RunDirectory

    return RunDirectory(path) if (path / "steps").is_dir() else RunDirectory.open(path)


def _repair(run: RunDirectory, args: argparse.Namespace) -> int:
    from dataclasses import replace

    from ..store.check import check
    from ..store.damage import set_aside

    left, done = False, []
    for found in list(check(run)):
        aside = set_aside(found.path, run.path) if found.can_be_moved else None
        left |= aside is None and found.path.exists() and bool(found.remedy)
        done.append(replace(found, what=f"{found.what}; now at {aside}") if aside else found)
    _tell(done, args)
    return int(left)


def _tell(findings: list[Finding], args: argparse.Namespace) -> int:
    from .printing import print_json

    damages = [each for each in findings if each.remedy]
    if args.json:
        print_json([{"path": str(each.path), "what": each.what, "remedy": each.remedy} for each in findings])
    else:
        for each in findings:
            print(f"{each.path}: {each.what}" + (f"\n  {each.remedy}" if each.remedy else ""))
        print(f"{len(damages):,} damaged" if damages else "nothing is damaged")
    return int(bool(damages))
