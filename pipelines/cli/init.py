"""``gristmill init RECIPE [FILE]``: copy a packaged recipe, to edit it."""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="the name of a packaged recipe: gristmill recipes lists them")
    parser.add_argument("file", nargs="?", type=Path, help="where to write it (default: RECIPE.yaml)")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")


def main(args: argparse.Namespace) -> int:
    from ...contracts.errors import GristmillError
    from ...contracts.nearest import suggestion
    from ..file.locate import recipes
    from .printing import say

    packaged = recipes()
    if args.recipe not in packaged:
        raise GristmillError(f"there is no such recipe: {suggestion(args.recipe, packaged)}")
    file: Path = args.file or Path(f"{args.recipe}.yaml")
    if file.is_dir():
        file = file / f"{args.recipe}.yaml"
    if file.exists() and not args.force:
        raise GristmillError(f"{file} is there already: name another file, or add --force to replace it")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(packaged[args.recipe].read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        raise GristmillError(f"{file}: cannot be written: {error.strerror}") from error
    say(f"{file}: edit it, then run it with: gristmill run {file}")
    return 0
