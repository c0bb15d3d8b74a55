"""``gristmill models``: list the models of the store; download, find and remove models."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...contracts.printable import printable

if TYPE_CHECKING:
    from ..weights import FetchProgress

REFERENCE = "a packaged model, a Hugging Face id (org/name[@revision]), a directory or a .gguf file"


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser("list", help="the packaged models and what is in the cache")
    listed.add_argument("--json", action="store_true", help="print JSON")
    pull = actions.add_parser("pull", help="download a model, check it, and make it ready to load")
    pull.add_argument("name", metavar="NAME", help=REFERENCE)
    path = actions.add_parser("path", help="print the path of a model; exit code 1 if it is not here")
    path.add_argument("name", metavar="NAME", help=REFERENCE)
    remove = actions.add_parser("remove", help="remove a model from the cache")
    remove.add_argument("name", metavar="NAME", help="a name that `list` shows as cached")


def main(args: argparse.Namespace) -> int:
    if args.action == "list":
        return _list(as_json=args.json)
    if args.action == "pull":
        return _pull(args.name)
    if args.action == "path":
        return _path(args.name)
    return _remove(args.name)


def _list(*, as_json: bool) -> int:
    from ..weights import PACKAGED, cache_dir, cached

    held = {model.digest: model for model in cached()}
    rows: list[dict[str, object]] = [
        {
            "name": model.name,
            "kind": model.kind,
            "licence": model.licence,
            "parameters": model.parameters,
            "bytes": held[model.digest].bytes if model.digest in held else model.stored_bytes,
            "path": str(held[model.digest].path) if model.digest in held else None,
        }
        for model in PACKAGED.values()
    ]
    rows += [
        {"name": model.name, "kind": "converted", "licence": model.licence, "parameters": None,
         "bytes": model.bytes, "path": str(model.path)}
        for model in held.values()
        if model.digest not in {packaged.digest for packaged in PACKAGED.values()}
    ]  # fmt: skip
    if as_json:
        print(json.dumps({"cache": str(cache_dir()), "models": rows}, indent=2))
        return 0
    from rich.table import Table

    from .printing import console, words

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("model", "kind", "licence", "size", "cached"):
        table.add_column(column, justify="right" if column == "size" else "left", no_wrap=True)
    for row in rows:
        size = f"{int(str(row['bytes'])) / 1e9:.2f} GB"
        cells = (row["name"], row["kind"], row["licence"], size, "yes" if row["path"] else "no")
        table.add_row(*map(words, cells))
    out = console()
    out.print(table)
    out.print(words(f"cache: {cache_dir()}"), soft_wrap=True)
    return 0


def _pull(name: str) -> int:
    from ..weights import resolve
    from .printing import say

    with shown(name) as progress:
        weights = resolve(name, progress)
    say(weights.path)
    return 0


def _path(name: str) -> int:
    from ...contracts.errors import ModelError
    from ..weights import exists, fetch
    from .printing import say

    if not exists(name):
        raise ModelError(f"{name} is not on this machine: run 'gristmill models pull {name}'")
    say(fetch(name))
    return 0


def _remove(name: str) -> int:
    from ..weights import remove
    from .printing import say

    for model in remove(name):
        say(f"removed {model.path} ({model.bytes / 1e9:.2f} GB)")
    return 0


@contextmanager
def shown(name: str) -> Iterator[FetchProgress]:
    """A progress bar if standard error is a terminal; elsewhere one line per stage."""
    name = printable(name)
    if not sys.stderr.isatty():
        stages: set[str] = set()

        def say(stage: str, done: float, total: float) -> None:
            if stage not in stages:
                stages.add(stage)
                print(f"{name}: {stage}", file=sys.stderr, flush=True)

        yield say
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[size]}"))
    with Bars(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(name, total=None, size="")

        def draw(stage: str, done: float, total: float) -> None:
            size = f"{done / 1e6:.0f} of {total / 1e6:.0f} MB" if total > 1 else ""
            # Progress that stays at 0 is unknown: the bar pulses.
            known = total if total > 1 or done else None
            bars.update(task, description=f"{name}: {stage}", completed=done, total=known, size=size)

        yield draw
