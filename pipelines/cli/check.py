"""``gristmill check RUN``: read every byte of a run and list damaged files."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...contracts.counting import counted

if TYPE_CHECKING:
    from ..store.integrity import DamageFinding
    from ..store.run_directory import RunDirectory

DESCRIPTION = """\
Read every byte of RUN and list each file that differs from what was written, what is wrong with it, and
what the next run makes again. Files that do not belong to the run are listed too, and left in place.
Changes nothing without --repair, which moves damaged files to RUN/damaged; the next run makes them again.
Exit codes: 0 nothing is damaged, or --repair set everything aside;
1 damage, or files that --repair could not move."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument("run", help="a run directory")
    parser.add_argument(
        "--repair",
        action="store_true",
        help="move damaged files to RUN/damaged, so that the next run makes them again",
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON: path, what and remedy of each finding"
    )


def main(args: argparse.Namespace) -> int:
    from ..store.integrity import check

    run = _open(Path(args.run))
    if args.repair:
        with run.lock():
            return _repair(run, args)
    findings = [(found, None) for found in check(run)]
    _tell(findings, args)
    return int(any(found.remedy for found, _ in findings))


def _open(path: Path) -> RunDirectory:
    """Open the run; unlike other commands, this one accepts a run without run.json."""
    from ..store.run_directory import RunDirectory

    return RunDirectory(path) if (path / "steps").is_dir() else RunDirectory.open(path)


def _repair(run: RunDirectory, args: argparse.Namespace) -> int:
    from ..store.damage import set_aside
    from ..store.integrity import check

    done: list[tuple[DamageFinding, Path | None]] = []
    for found in list(check(run)):
        done.append((found, set_aside(found.path, run.path) if found.can_be_moved else None))
    _tell(done, args)
    return int(any(_left(found, aside) for found, aside in done))


def _left(found: DamageFinding, aside: Path | None) -> bool:
    """Is it a damaged file that is still in place?"""
    return bool(found.remedy) and aside is None and os.path.lexists(found.path)


def _tell(findings: Sequence[tuple[DamageFinding, Path | None]], args: argparse.Namespace) -> None:
    from .printing import print_json, say

    if args.json:
        print_json(
            [
                {
                    "path": str(each.path),
                    "what": each.what,
                    "remedy": each.remedy,
                    "aside": None if aside is None else str(aside),
                }
                for each, aside in findings
            ]
        )
        return
    for each, aside in findings:
        say(f"{each.path}: {each.what}")
        then = [f"set aside as {aside}" if aside else "", each.remedy]
        if any(then):
            say(f"  {'; '.join(filter(None, then))}")
    say(_summary(findings, repair=args.repair))


def _summary(findings: Sequence[tuple[DamageFinding, Path | None]], *, repair: bool) -> str:
    """The number of damaged files; with --repair, what was done and what remains to be done."""
    damages = [(each, aside) for each, aside in findings if each.remedy]
    if not damages:
        return "nothing is damaged"
    found = counted(len(damages), "damaged file")
    if not repair:
        return f"{found}; --repair sets damaged files aside, and the next run makes them again"
    moved = sum(aside is not None for _, aside in damages)
    left = sum(_left(each, aside) for each, aside in damages)
    missing = len(damages) - moved - left
    parts = [
        f"{moved:,} set aside",
        f"{missing:,} that {'was' if missing == 1 else 'were'} missing" if missing else "",
        f"{left:,} left in place" if left else "",
    ]
    again = f"; the next run makes {counted(moved + missing, 'file')} again" if moved + missing else ""
    return f"{found}: {', '.join(filter(None, parts))}{again}"
