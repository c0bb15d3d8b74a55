"""``gristmill recipes``: list the packaged pipeline files and their purposes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..file.spec import About

#: Maximum width of a line of the list.
LINE = 110
#: The parts of an ``about`` section.
PARTS = ("method", "paper", "inputs", "outputs", "cost")


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
    return dict.fromkeys(PARTS) if each is None else each.model_dump()


def _show(found: dict[str, About | None]) -> None:
    """One line per recipe: its name and its method."""
    from .printing import say, short

    width = max(len(name) for name in found)
    for name, each in found.items():
        said = "" if each is None else short(each.method, LINE - width - 2)
        say(f"{name:<{width}}  {said}".rstrip())
    say("\ngristmill run NAME runs one, gristmill init NAME copies it to edit.")
