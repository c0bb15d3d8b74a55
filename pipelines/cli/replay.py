"""``gristmill replay RUN --verify``: make the deterministic steps of a run again and compare the bytes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ...contracts.counting import counted
from .arguments import add_trust

if TYPE_CHECKING:
    from ..inspect.replay.replay import ReplayedStep

DESCRIPTION = """\
List the steps of RUN that give the same bytes whenever they are made again, and those that do not: a step
that asks a model, trains one, or runs programs whose times are measured. With --verify, each of the first is
made again from the stored rows of the steps before it, in a temporary folder, and compared with what is
stored. `gristmill check` finds files that changed since they were written; this also finds rows that the
steps do not make. The file that the run keeps is loaded, with the functions that it names.
Exit codes: 0 all steps that were made again are equal; 1 one differs."""

WORDS = {"can be": "deterministic", "not": "not deterministic", "unknown": "not known"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument("run", help="a run directory")
    parser.add_argument("--verify", action="store_true", help="make the steps again, and compare the bytes")
    parser.add_argument("--json", action="store_true", help="print JSON: one object per step")
    add_trust(parser)


def main(args: argparse.Namespace) -> int:
    from ..inspect.replay.replay import replay
    from ..store.run_directory import RunDirectory
    from .printing import print_json
    from .trust import make_sure

    run = RunDirectory.open(args.run)
    make_sure(str(run.path / "spec.yaml"), (), trusted=args.trust)
    found = list(replay(run, verify=args.verify))
    if args.json:
        print_json(found)
    else:
        _show(found, verify=args.verify)
    return int(any(each.state == "different" for each in found))


def _show(found: list[ReplayedStep], *, verify: bool) -> None:
    from .printing import console, say, table, words

    shown = table("step", "rounds", "operator", "rows", "result", "why", numbers=("rows",))
    for each in found:
        rounds = ", ".join(map(str, each.rounds))
        rows = f"{each.rows:,}" if each.rows else ""
        cells = (each.step, rounds, each.operator, rows, WORDS.get(each.state, each.state), each.why)
        shown.add_row(*map(words, cells))
    console().print(shown)
    for each in found:
        for other in each.differences:
            row = f", row {other.row}" if other.row else ""
            column = f", column {other.column}" if other.column else ""
            say(f"{each.step}: {other.file}{row}{column}: {other.what}")
    count = {state: sum(each.state == state for each in found) for state in ("equal", "different")}
    made = count["equal"] + count["different"]
    left = f"{counted(sum(each.state == 'not' for each in found), 'step')} not deterministic"
    unknown = sum(each.state == "unknown" for each in found)
    left += f", {unknown:,} not known" if unknown else ""
    if verify:
        say(
            f"{counted(made, 'step')} made again: {count['equal']:,} equal, "
            f"{count['different']:,} different; {left}"
        )
    else:
        ready = sum(each.state == "can be" for each in found)
        say(f"{counted(ready, 'step')} can be made again (--verify does it); {left}")
