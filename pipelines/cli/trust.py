"""Asks before a pipeline file of somebody else is loaded: loading imports the modules that it names."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import GristmillError
from ..printable import shown
from ..spec.load import code_in
from ..spec.locate import RECIPES, locate

#: Functions that the question lists at most.
LISTED = 12


class NotTrusted(GristmillError):
    """A file that nobody has said yes to."""

    exit_code = 2


def make_sure(file: str, overrides: Sequence[str], *, trusted: bool) -> None:
    """Return if the file may be loaded: it lies below the working directory, is packaged, or a person says so.

    Where a link leads is what counts. ``trusted``: ``--trust`` was given. Raises NotTrusted where the answer is no
    or nobody can be asked, SpecError where there is no such file.
    """
    path = locate(file)
    if trusted or _is_ours(path.resolve()):
        return
    what = f"{path} is not below the working directory ({Path.cwd()}). {_can(code_in(path, overrides))}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise NotTrusted(f"{what} Read it, then add --trust, or move it here")
    print(shown(what), file=sys.stderr)
    print("Load it? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotTrusted(f"{path} was not loaded: nothing of it was imported")


def _is_ours(path: Path) -> bool:
    here = Path.cwd().resolve()
    # Below the root is everything, which says nothing.
    below = path.is_relative_to(here) and here != here.parent
    return below or path.parent == RECIPES.resolve()


def _can(code: Sequence[str]) -> str:
    """What saying yes would allow."""
    if not code:
        return (
            "It names no functions to import, but a pipeline file says which files are read and written, "
            "and which servers get your keys."
        )
    more = f" and {len(code) - LISTED} more" if len(code) > LISTED else ""
    return f"It would import and run {', '.join(code[:LISTED])}{more}, which can do whatever you can."
