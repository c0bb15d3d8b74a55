"""``gristmill recipes``: list the packaged pipeline files and their purposes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..file.spec import About

_PARTS = ("method", "paper", "inputs", "outputs", "cost")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="print this recipe's file, to start one of your own")
    parser.add_argument("--json", action="store_true", help="print the list as JSON")


def main(args: argparse.Namespace) -> int:
    from ...contracts.printable import printable
    from ..file.locate import locate, recipes

    if args.name is not None:
        print(printable(recipes().get(args.name, locate(args.name)).read_text(encoding="utf-8")), end="")
        return 0
    found = {name: about(path) for name, path in recipes().items()}
    if args.json:
        from .printing import print_json

        print_json([{"name": name, **_parts(each)} for name, each in found.items()])
        return 0
    _show(found)
    return 0


def about(path: Path) -> About | None:
    """The ``about`` section of the file at ``path``; None if it has none. Raises SpecError."""
    from pydantic import ValidationError

    from ...contracts.errors import SpecError
    from ..file.document import read
    from ..file.mistakes import blame_all
    from ..file.spec import About

    document = read(path)
    given = document.value.get("about") if isinstance(document.value, dict) else None
    if given is None:
        return None
    try:
        return About.model_validate(given)
    except ValidationError as error:
        blame_all(document, ("about",), error, About)
        raise SpecError(document.problems) from None


def _parts(each: About | None) -> dict[str, Any]:
    return dict.fromkeys(_PARTS) if each is None else each.model_dump()


def _show(found: dict[str, About | None]) -> None:
    """A table of recipes with their names and descriptions."""
    from rich.table import Table

    from .printing import console

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, each in found.items():
        said = [(part, text) for part, text in _parts(each).items() if text is not None]
        for number, (part, text) in enumerate(said or [("", "")]):
            table.add_row(name if number == 0 else "", part, text)
        table.add_row()
    out = console()
    out.print(table)
    out.print("gristmill run NAME runs one; gristmill recipes NAME prints its file.", highlight=False)
