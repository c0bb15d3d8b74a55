"""``gristmill keep RUN STEP --what-if EXPR``: show what another condition would keep."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ...contracts.counting import counted

if TYPE_CHECKING:
    from ..inspect.what_if import WhatIf


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run directory")
    parser.add_argument("step", help="a keep step (kept, or kept@1 for the first round's)")
    parser.add_argument(
        "--what-if", required=True, metavar="EXPR", help="the condition, in the syntax of keep"
    )
    parser.add_argument(
        "--by", metavar="COLUMN", help="group by this column (default: cluster, if there is one)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    from ..inspect.what_if import what_if
    from ..store.run_directory import RunDirectory
    from .printing import print_json

    found = what_if(RunDirectory.open(args.run), args.step, args.what_if, args.by)
    if args.json:
        print_json(found)
    else:
        _show(found)
    return 0


def _show(found: WhatIf) -> None:
    from .printing import console, table, words

    out = console()
    out.print(words(f"{found.step}, round {found.round}: {counted(found.rows, 'row')} came in", style="bold"))
    counts = table("", "condition", "kept", "rate", numbers=("kept", "rate"))
    for when, expression, kept in (
        ("now", found.current, found.now),
        ("what if", found.expression, found.then),
    ):
        counts.add_row(when, words(expression), f"{kept:,}", _rate(kept, found.rows))
    out.print(counts)
    out.print(
        f"{counted(found.both, 'row is', 'rows are')} kept by both, {found.then - found.both:,} only "
        "by the new condition, "
        f"{found.now - found.both:,} only by the present one"
    )
    for name, value in (found.summary.get("thresholds") or {}).items():
        out.print(words(f"  {name} is cut at {value:.6g}"))
    for rule, rows in (found.summary.get("failed") or {}).items():
        out.print(words(f"  {counted(rows, 'row fails', 'rows fail')} {rule}"))
    if found.groups:
        groups = table(
            found.by or "", "rows", "now", "what if", "change", numbers=("rows", "now", "what if", "change")
        )
        for group in found.groups:
            groups.add_row(
                words("(none)" if group.name is None else group.name),
                f"{group.rows:,}",
                f"{group.now:,}  {_rate(group.now, group.rows)}",
                f"{group.then:,}  {_rate(group.then, group.rows)}",
                f"{group.then - group.now:+,}",
            )
        out.print(groups)
        if any(group.name is None for group in found.groups):
            out.print(words(f"(none): rows that did not reach a step with a {found.by}"))


def _rate(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
