"""``gristmill keep RUN STEP --what-if EXPR``: show what another condition or threshold would keep."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ...contracts.counting import counted

if TYPE_CHECKING:
    from ..inspect.other_threshold import OtherThreshold
    from ..inspect.what_if import WhatIf


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run directory")
    parser.add_argument(
        "step",
        help="a keep, dedup, decontaminate or select step (kept, or kept@1 for the first round's)",
    )
    parser.add_argument(
        "--what-if",
        required=True,
        metavar="EXPR",
        help="the condition, in the syntax of keep; for other steps the threshold, a number",
    )
    parser.add_argument(
        "--by", metavar="COLUMN", help="group by this column (default: cluster, if there is one)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    from ..inspect.other_threshold import other_threshold
    from ..inspect.what_if import what_if
    from ..store.run_directory import RunDirectory
    from .printing import print_json

    run = RunDirectory.open(args.run)
    threshold = _number(args.what_if)
    if threshold is not None:
        scores = other_threshold(run, args.step, threshold, args.by)
        print_json(scores) if args.json else _show_threshold(scores)
        return 0
    found = what_if(run, args.step, args.what_if, args.by)
    print_json(found) if args.json else _show(found)
    return 0


def _number(text: str) -> float | None:
    """A threshold; None if the text is a condition."""
    try:
        return float(text)
    except ValueError:
        return None


def _show_threshold(found: OtherThreshold) -> None:
    from .printing import console, table, words

    out = console()
    rows = f"{found.step} ({found.operator}), round {found.round}: {counted(found.rows, 'row')} came in"
    out.print(words(rows, style="bold"))
    counts = table("", "threshold", "kept", "rate", numbers=("threshold", "kept", "rate"))
    current = "-" if found.current is None else f"{found.current:g}"
    counts.add_row("now", current, f"{found.now:,}", _rate(found.now, found.rows))
    then = "not known" if found.then is None else f"{found.then:,}"
    rate = "-" if found.then is None else _rate(found.then, found.rows)
    counts.add_row("what if", f"{found.threshold:g}", then, rate)
    out.print(counts)
    if found.lowest is not None:
        out.print(
            words(f"the stored scores of filtered rows lie from {found.lowest:.4g} to {found.highest:.4g}")
        )
    if found.unscored:
        out.print(words(f"{counted(found.unscored, 'filtered row')} without a score would stay out"))
    out.print(words(f"{found.certainty}: {found.because}"))
    _show_groups(found)


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
    _show_groups(found)


def _show_groups(found: OtherThreshold | WhatIf) -> None:
    from .printing import console, table, words

    if not found.groups:
        return
    out = console()
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
