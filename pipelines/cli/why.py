"""``gristmill why RUN ROW``: show what happened to a row, step by step."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..inspect.lineage import Fate, Lineage


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run directory")
    parser.add_argument("row", help="the row's _id, or the beginning of it")
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    from ..inspect.lineage import lineage
    from ..store.run_directory import RunDirectory
    from .printing import print_json

    found = lineage(RunDirectory.open(args.run), args.row)
    if args.json:
        print_json(found)
    else:
        _show(found)
    return 0


def _show(found: Lineage) -> None:
    from .printing import console, short, table, words

    out = console()
    out.print(words(f"row {found.id}", style="bold"))
    for name, text in found.texts.items():
        out.print(words(f"  {name}: {short(text, 300)}"))
    fates = table("round", "step", "fate", "why")
    for fate in found.fates:
        rounds = ", ".join(map(str, fate.rounds))
        fates.add_row(*map(words, (rounds, f"{fate.step}  {fate.operator}", fate.fate, _because(fate))))
    out.print(fates)
    for heading, relatives in (("parents, up to the seeds", found.ancestors), ("children", found.children)):
        if relatives:
            listed = table(heading, "step", "text")
            for each in relatives:
                indent = "  " * (each.distance - 1)
                listed.add_row(*map(words, (f"{indent}{each.id}", each.step, short(each.text, 90))))
            out.print(listed)
    if not found.ancestors:
        out.print("it has no parents: it is a seed")


def _because(fate: Fate) -> str:
    """The reason in words, the deciding values, and the batches that contained the row."""
    from ..report.samples import because
    from .printing import short

    parts = [because(fate.reason)]
    for name, value in fate.values.items():
        if isinstance(value, (bool, int, float)):
            cut = f" (cut at {fate.cuts[name]:.4g})" if name in fate.cuts else ""
            parts.append(f"{name} {value:.4g}{cut}" if isinstance(value, float) else f"{name} {value}{cut}")
        elif isinstance(value, str) and name not in ("prompt", "response"):
            parts.append(f"{name} {short(value, 60)}")
    if fate.batches:
        told = [
            f"{step}" + (f" (loss {loss:.3f})" if loss is not None else "") for step, loss in fate.batches
        ]
        parts.append(f"in the batch of optimizer step {', '.join(told)}")
    return "; ".join(part for part in parts if part)
