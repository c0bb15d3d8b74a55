"""``gristmill diff RUN RUN``: how two runs differ."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..report.run_difference import RunDifference, StepDifference

DESCRIPTION = """\
Compare the last rounds of two runs: their files, the settings of each step, the numbers of kept, filtered and
failed rows, the metrics, and the rows by their ids."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument("first", metavar="RUN", help="a run directory")
    parser.add_argument("second", metavar="RUN2", help="the run directory to compare it with")
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    from ..report.run_difference import run_difference
    from ..store.run_directory import RunDirectory
    from .printing import print_json

    found = run_difference(RunDirectory.open(args.first), RunDirectory.open(args.second))
    if args.json:
        print_json(found)
    else:
        show(found, args.second)
    return 0


def show(found: RunDifference, second: str) -> None:
    """Print how two runs or rounds differ; ``second`` names the other one."""
    from ..plan.show import show_difference
    from .printing import console, say, table, words

    if found.file:
        say("\n".join(found.file) + "\n")
    say(show_difference(found.settings, second))
    changed = [step for step in found.steps if not step.same]
    out = console()
    if changed:
        rows = table("step", "kept", "filtered", "failed", "rows of both", "only first", "only second")
        for step in changed:
            counts = [_pair(*pair) for pair in zip(*step.ledgers, strict=True)]
            only = (f"{step.both:,}", f"{step.only_first:,}", f"{step.only_second:,}")
            rows.add_row(*map(words, (step.step, *counts, *only)))
        out.print(rows)
        for step in changed:
            _show_ids(step)
    if found.metrics:
        metrics = table("metric", "first", "second")
        for name, pair in found.metrics.items():
            metrics.add_row(*map(words, (name, *(_figure(value) for value in pair))))
        out.print(metrics)
    if not changed:
        say("no step kept other rows")


def _show_ids(step: StepDifference) -> None:
    from .printing import say

    for which, count, ids in (
        ("first", step.only_first, step.first_ids),
        ("second", step.only_second, step.second_ids),
    ):
        if ids:
            more = f" and {count - len(ids):,} more" if count > len(ids) else ""
            say(f"{step.step}, only in the {which}: {', '.join(ids)}{more}")


def _pair(one: int, other: int) -> str:
    return f"{one:,}" if one == other else f"{one:,} -> {other:,}"


def _figure(value: object) -> str:
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
