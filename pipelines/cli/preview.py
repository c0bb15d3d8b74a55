"""``gristmill preview FILE``: try a pipeline on a few rows and print the rows of each step."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...contracts.counting import counted
from .arguments import add_pipeline, positive

if TYPE_CHECKING:
    from ..inspect.preview import PreviewedStep

#: Maximum number of rows, and of columns, printed per step.
SHOWN, COLUMNS = 16, 5


def configure(parser: argparse.ArgumentParser) -> None:
    add_pipeline(parser)
    parser.add_argument("--rows", type=positive, default=8, help="rows of each source (default: 8)")
    parser.add_argument(
        "--engine", metavar="KIND", help="serve every model with this engine (synthetic: no model)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    from ..inspect.preview import preview
    from .printing import print_json
    from .trust import make_sure

    make_sure(args.file, args.overrides, trusted=args.trust)
    tried = preview(args.file, args.rows, engine=args.engine, overrides=args.overrides)
    if args.json:
        from dataclasses import asdict

        print_json([asdict(step) for step in tried])
        return 0
    for step in tried:
        _show(step)
    return 0


def _show(tried: PreviewedStep) -> None:
    from rich.text import Text

    from ..report.samples import because
    from .printing import console, short, table, words

    out = console()
    counts: dict[str, int] = {}
    for row in tried.rows:
        counts[row["_fate"]] = counts.get(row["_fate"], 0) + 1
    told = ", ".join(f"{count} {fate}" for fate, count in counts.items()) or "no rows"
    out.print(Text.assemble((tried.step, "bold"), f"  {tried.label}: {told}"))
    columns = tried.columns[:COLUMNS]
    rows = table("row", "from", "fate", *columns)
    for row in tried.rows[:SHOWN]:
        parents = ", ".join(_end(name) for name in row["_parents"] or [])
        why = because(row.get("_reason"))
        fate = f"{row['_fate']}: {short(why, 60)}" if why else row["_fate"]
        cells = [short(_value(row, name), 70) for name in columns]
        rows.add_row(*map(words, (_end(row["_id"]), parents, fate, *cells)))
    out.print(rows)
    if len(tried.rows) > SHOWN:
        out.print(f"and {counted(len(tried.rows) - SHOWN, 'more row')}")
    if len(tried.columns) > COLUMNS:
        out.print(words(f"more columns: {', '.join(tried.columns[COLUMNS:])}"))


def _value(row: Mapping[str, Any], name: str) -> str:
    from ...contracts.turns import is_turns
    from ..report.samples import told

    value = row.get(name)
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and len(value) > 8 and not is_turns(value):
        return f"{len(value)} values"
    return told(value)


def _end(name: str) -> str:
    """The end of an id: the ids of a source's rows share their beginning."""
    return f"…{name[-6:]}"
