"""Asks before it loads a foreign pipeline file, since loading imports the modules that it names."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...contracts.errors import GristmillError
from ...contracts.printable import shown
from ...contracts.user_function import files_of
from ..file.load import code_in
from ..file.locate import RECIPES, locate

#: Maximum number of functions listed in the question.
LISTED = 12


class NotTrusted(GristmillError):
    """A file that the user has not approved."""

    exit_code = 2


def make_sure(file: str, overrides: Sequence[str], *, trusted: bool) -> None:
    """Return if the file may be loaded.

    It may if it and the modules that it names are below the working directory (after links are resolved), if
    it is packaged, or if the user agrees. ``trusted``: ``--trust`` was given. Raises NotTrusted if the answer
    is no or nobody can be asked, SpecError if there is no such file.
    """
    path = locate(file)
    if trusted:
        return
    code = code_in(path, overrides)
    if not _is_ours(path.resolve()):
        what = f"{path} is not below the working directory ({Path.cwd()}). {_can(code)}"
    elif (away := next(_leading_away(path, code), None)) is not None:
        what = (
            f"{path} names {away[0]}, and {away[1]} leads to {away[1].resolve()}, which is not below "
            "the working "
            f"directory ({Path.cwd()}). {_can(code)}"
        )
    else:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise NotTrusted(f"{what} Read it, then add --trust, or move it here")
    print(shown(what), file=sys.stderr)
    print("Load it? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotTrusted(f"{path} was not loaded: none of its code was imported")


def _is_ours(path: Path) -> bool:
    here = Path.cwd().resolve()
    # Everything is below the root, so that would allow any file.
    below = path.is_relative_to(here) and here != here.parent
    return below or path.parent == RECIPES.resolve()


def _leading_away(path: Path, code: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Each function whose module is reached by a link that leads outside, and the link."""
    folders = [] if path.parent == RECIPES.resolve() else [path.parent]
    for reference in code:
        for file in files_of(reference, dict.fromkeys([Path.cwd(), *folders])):
            if not _is_ours(file.resolve()):
                yield reference, file


def _can(code: Sequence[str]) -> str:
    """What loading the file would allow it to do."""
    if not code:
        return (
            "It names no functions to import, but a pipeline file says which files are read and written, "
            "and which servers get your keys."
        )
    more = f" and {len(code) - LISTED} more" if len(code) > LISTED else ""
    return f"It would import and run {', '.join(code[:LISTED])}{more}, with all your permissions."
