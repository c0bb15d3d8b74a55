"""``gristmill loop show | compare | fork``: the rounds of a run as data."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

DESCRIPTION = """\
Look at the rounds of a run, compare them, or begin a new run from one of them. Each round that is over has
a record, which never changes: its steps, rows, weights, verdict and cost, and the round before."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    what = parser.add_subparsers(dest="what", required=True, metavar="show | compare | fork")
    show = what.add_parser("show", help="list the rounds of a run and what each decided")
    compare = what.add_parser("compare", help="show how two rounds differ")
    fork = what.add_parser("fork", help="make a new run that begins after a round; what it made is kept")
    for each in (show, compare, fork):
        each.add_argument("run", metavar="RUN", help="a run directory")
    compare.add_argument("first", metavar="A", help="the number of a round, or another run (its last round)")
    compare.add_argument("second", metavar="B", help="the same for what it is compared with")
    fork.add_argument("--round", type=int, required=True, metavar="N", help="the last round to keep")
    fork.add_argument("--into", required=True, metavar="DIR", help="the directory of the new run")
    for each in (show, compare):
        each.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    from ..store.run_directory import RunDirectory

    run = RunDirectory.open(args.run)
    return {"show": _show, "compare": _compare, "fork": _fork}[args.what](args, run)


def _show(args: argparse.Namespace, run: Any) -> int:
    from ..store.round_records import records
    from .printing import console, print_json, say, table, words

    found = records(run.path)
    if args.json:
        print_json(found)
        return 0
    if not found:
        say(f"no round of {run.path} is over")
        return 0
    shown = table(
        "round", "record", "after", "decision", "students", "gain", "tokens", "time", numbers=("tokens",)
    )
    for each in found:
        budget = each["budget"]
        students = ", ".join(f"{told['step']} -> {model}" for model, told in each["carry"].items())
        cells = (each["round"], each["record"], each["parent"] or "-", each["verdict"]["decision"])
        tokens = f"{budget['prompt_tokens'] + budget['completion_tokens']:,}"
        gains = _gains(each["verdict"])
        more = (students or "-", gains or "-", tokens, f"{budget['seconds']:.0f} s")
        shown.add_row(*map(words, (*cells, *more)))
    console().print(shown)
    return 0


def _gains(verdict: dict[str, Any]) -> str:
    """The gain on each yardstick of a gate, and on each other evaluation, with its interval."""
    from ..view.gate import gain_of

    gate = verdict.get("gate") or {"yardsticks": (), "steps": ()}
    told = [f"{line['name']} {gain_of(line)}" for line in gate["yardsticks"]]
    for step, summary in (verdict["metrics"] or {}).items():
        gain = summary.get("gain") if isinstance(summary, dict) and step not in gate["steps"] else None
        if isinstance(gain, dict) and gain.get("mean") is not None:
            told.append(f"{step} {gain['mean']:+.3f} [{gain['ci_low']:+.3f}, {gain['ci_high']:+.3f}]")
    return "; ".join(told)


def _compare(args: argparse.Namespace, run: Any) -> int:
    from ..inspect.rounds.compare import compare
    from .diff import show
    from .printing import print_json

    found = compare(run, args.first, args.second)
    if args.json:
        print_json(found)
    else:
        show(found, f"round {args.second}" if args.second.isdecimal() else args.second)
    return 0


def _fork(args: argparse.Namespace, run: Any) -> int:
    from ..inspect.rounds.fork import fork
    from .printing import say

    into = Path(args.into)
    file = fork(run, args.round, into)
    say(f"{into} begins after round {args.round}. To go on: gristmill run {file} --run {into}")
    return 0
