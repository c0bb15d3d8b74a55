"""``gristmill plan FILE``: show what a run would do and cost. Runs and writes nothing."""

from __future__ import annotations

import argparse
import json

from .arguments import add_pipeline, positive

DESCRIPTION = """\
Show the steps of FILE as a tree: which are already done in the run directory and which are to run,
with rows, tokens, time and memory. Runs and writes nothing."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    add_pipeline(parser)
    parser.add_argument("--run", metavar="DIR", help="the run directory (default: runs/NAME)")
    parser.add_argument("--against", metavar="DIR", help="say why each step differs from this run")
    parser.add_argument(
        "--round", type=positive, metavar="N", help="the round to plan (default: the first that is not done)"
    )
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


def main(args: argparse.Namespace) -> int:
    from ...contracts.errors import GristmillError
    from ..plan.difference import difference
    from ..plan.first_rows import looks
    from ..plan.record import as_record
    from ..plan.show import show_difference
    from ..python_api.planning import plan_file
    from ..store.run_directory import RunDirectory
    from .printing import say
    from .trust import make_sure

    make_sure(args.file, args.overrides, trusted=args.trust)
    against = RunDirectory.open(args.against) if args.against else None
    planned = plan_file(args.file, args.run, against=against, overrides=args.overrides, round=args.round)
    record = as_record(planned.plan)
    if args.json:
        print(json.dumps(record, indent=2))
        return 0
    number = planned.plan.round
    earlier = [each.plan for each in against.rounds() if each.number <= number] if against else []
    if against is not None and not earlier:
        raise GristmillError(
            f"{against.path} has no plan of round {number} or an earlier round to compare with: "
            "nothing was run there, or it was "
            f"removed (gristmill check {against.path} tells)"
        )
    say(planned)
    for told in looks(planned.plan):
        say("\n" + told)
    if against is not None:
        say("\n" + show_difference(difference(earlier[-1], record), str(against.path)))
    return 0
