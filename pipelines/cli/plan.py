"""``gristmill plan FILE``: show what a run would do and cost. Runs and writes nothing."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import add_pipeline

if TYPE_CHECKING:
    from ..plan.nodes import Carry, Plan
    from ..store.run_directory import RunDirectory

DESCRIPTION = """\
Show the steps of FILE as a tree: which are already done in the run directory and which are to run,
with rows, tokens, time and memory. Runs and writes nothing."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    add_pipeline(parser)
    parser.add_argument("--run", metavar="DIR", help="the run directory (default: runs/NAME)")
    parser.add_argument("--against", metavar="DIR", help="say why each step differs from this run")
    parser.add_argument(
        "--round", type=int, metavar="N", help="the round to plan (default: the first that is not done)"
    )
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


def main(args: argparse.Namespace) -> int:
    from ...contracts.errors import GristmillError
    from ..plan.difference import difference
    from ..plan.environment import refuse_missing
    from ..plan.estimate import estimate
    from ..plan.first_rows import looks
    from ..plan.make import make_plan
    from ..plan.read import read_file
    from ..plan.record import as_record
    from ..plan.show import show, show_difference
    from ..store.run_directory import RunDirectory
    from .printing import say
    from .trust import make_sure

    make_sure(args.file, args.overrides, trusted=args.trust)
    spec = read_file(args.file, args.overrides)
    against = RunDirectory.open(args.against) if args.against else None
    run = _run(Path(args.run) if args.run else spec.directory, named=args.run is not None) or against
    if args.round is not None and not 1 <= args.round <= spec.loop.rounds:
        raise GristmillError(f"there is no round {args.round}: the file has {spec.loop.rounds}")
    number = args.round or 1
    plan = make_plan(spec, file=args.file, round=number, carry=_carry(run, number))
    while run is not None and args.round is None and number < spec.loop.rounds and _over(plan, run):
        number += 1
        plan = make_plan(spec, file=args.file, round=number, carry=_carry(run, number))
    refuse_missing(plan, run)
    record = as_record(plan)
    if args.json:
        print(json.dumps(record, indent=2))
        return 0
    earlier = [each.plan for each in against.rounds() if each.number <= number] if against else []
    if against is not None and not earlier:
        raise GristmillError(
            f"{against.path} has no plan of round {number} or an earlier round to compare with: "
            "nothing was run there, or it was "
            f"removed (gristmill check {against.path} tells)"
        )
    say(show(plan, estimate(plan, run), run=str(run.path) if run else None))
    for told in looks(plan):
        say(f"\n{told}")
    if against is not None:
        say("\n" + show_difference(difference(earlier[-1], record), str(against.path)))
    return 0


def _run(path: Path, *, named: bool) -> RunDirectory | None:
    """The run at ``path``; None if there is none yet."""
    from ..store.run_directory import RunDirectory

    other = named and path.exists() and (not path.is_dir() or any(path.iterdir()))
    return RunDirectory.open(path) if other or (path / "run.json").exists() else None


def _over(plan: Plan, run: RunDirectory) -> bool:
    """Is this round done and decided in the run?"""
    decided = any(each.number == plan.round and each.result is not None for each in run.rounds())
    return decided and all(run.step(step.name, step.fingerprint).complete for step in plan.steps)


def _carry(run: RunDirectory | None, number: int) -> dict[str, Carry]:
    """The students that the previous round promoted."""
    from ..plan.nodes import Carry

    for each in run.rounds() if run else []:
        if each.number == number - 1 and each.result is not None:
            return {
                model: Carry(Path(student["adapter"]), student["digest"], student["step"])
                for model, student in each.result["carry"].items()
            }
    return {}
