"""``gristmill recipes``: the pipeline files that ship with Gristmill."""

from __future__ import annotations

import argparse

HELP = "list the packaged pipeline files"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="print this recipe's file, to start one of your own")


def main(args: argparse.Namespace) -> int:
    from ..spec.locate import locate, recipes

    if args.name is not None:
        print(recipes().get(args.name, locate(args.name)).read_text(encoding="utf-8"), end="")
        return 0
    found = recipes()
    width = max((len(name) for name in found), default=0)
    for name, path in found.items():
        print(f"{name:<{width}}  {first_comment(path.read_text(encoding='utf-8'))}")
    return 0


def first_comment(text: str) -> str:
    """The text of the first comment line: what the recipe is for."""
    for line in text.splitlines():
        if line.startswith("#") and line.strip("# "):
            return line.strip("# ")
    return ""
