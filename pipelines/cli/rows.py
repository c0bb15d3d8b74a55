"""``gristmill rows RUN STEP``: print the rows of a step, those that it filtered or that failed too."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ...contracts.counting import counted
from .arguments import positive

if TYPE_CHECKING:
    import pyarrow as pa

#: Maximum number of columns of a table.
COLUMNS = 7

DESCRIPTION = """\
Print rows of a step: those that it kept, filtered, or that failed. `_rule`, `_score`, `_duplicate_of` and
`_error` say why a row was not kept, and can be used in --where."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument("run", help="a run directory")
    parser.add_argument("step", help="a step (kept, or kept@1 for the first round's)")
    parser.add_argument(
        "--fate", choices=("kept", "filtered", "failed", "all"), default="kept", help="which rows (kept)"
    )
    parser.add_argument("--where", metavar="SQL", help="a condition, in the syntax of keep")
    parser.add_argument("--limit", type=positive, default=20, metavar="N", help="at most N rows (20)")
    parser.add_argument("--columns", metavar="A,B", help="the columns to print (default: the first ones)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per row")


def main(args: argparse.Namespace) -> int:
    from ..inspect.rows_of import rows_of
    from ..store.run_directory import RunDirectory

    run = RunDirectory.open(args.run)
    found, count = rows_of(run, args.step, fate=args.fate, where=args.where, limit=args.limit)
    if args.columns is not None:
        found = _chosen(found, args.columns.split(","))
    if args.json:
        _print_json(found)
    else:
        _show(found, count)
    return 0


def _chosen(table: pa.Table, names: list[str]) -> pa.Table:
    from ...contracts.operators import check_names

    check_names(names, table.column_names)
    return table.select(names)


def _print_json(table: pa.Table) -> None:
    import json

    from ...contracts.printable import printable
    from ...contracts.secrets import scrubbed

    for row in table.to_pylist():
        print(printable(json.dumps(scrubbed(row), ensure_ascii=False, default=str)))


def _show(rows: pa.Table, count: int) -> None:
    from .printing import console, short, table, words

    own = [name for name in rows.column_names if not name.startswith("_")]
    why = [name for name in ("_rule", "_score", "_duplicate_of", "_error") if name in rows.column_names]
    names = ["_id", *why, *own] if "_id" in rows.column_names else [*why, *own]
    names, left = names[:COLUMNS], names[COLUMNS:]
    shown = table(*names)
    for row in rows.to_pylist():
        shown.add_row(*(words(short(_cell(row[name]), 70)) for name in names))
    out = console()
    if rows.num_rows:
        out.print(shown)
    out.print(
        f"{counted(rows.num_rows, 'row')} of {count:,}" if rows.num_rows < count else counted(count, "row")
    )
    if left:
        out.print(words(f"more columns: {', '.join(left)} (--columns chooses)"))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{len(value)} values" if isinstance(value, list) and len(value) > 8 else str(value)
