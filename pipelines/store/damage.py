"""Damage: a file of a run that is not what was written, and where it goes."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import StoreError

#: Where the damaged files of a run are kept, each at its own place below.
FOLDER = "damaged"


class Damaged(StoreError):
    """A file is not what was written: missing, changed, or no file at all.

    ``path``: the file. ``what``: what is wrong with it, in a few words.
    """

    remedy = "`gristmill check RUN --repair` sets it aside, and the next run makes just this again"

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path} is damaged ({what}): {self.remedy}")
        self.path = path
        self.what = what


class Stranger(Damaged):
    """A file that nobody wrote, in a folder that is loaded as a whole."""

    remedy = "the next run moves it away"


def first_line(error: BaseException) -> str:
    """An Arrow error is a paragraph; its first line says what is wrong."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def set_aside(path: Path, run: Path) -> Path | None:
    """Move what lies at ``path`` out of the way, never following a link; answers where it is now.

    What is in the run's directory goes to ``RUN/damaged``, what is elsewhere gets another name beside. None
    where nothing is there, or it cannot be moved (a read-only store: the next error names the file).
    """
    if not os.path.lexists(path):
        return None
    try:
        if path.is_relative_to(run):
            kept = _folder(run) / path.relative_to(run)
            kept.parent.mkdir(parents=True, exist_ok=True)
        else:
            kept = path.with_name(f"{path.name}.damaged")
        kept = _free(kept)
        os.rename(path, kept)
    except OSError:
        return None
    return kept


def _folder(run: Path) -> Path:
    folder = run / FOLDER
    if os.path.lexists(folder) and not folder.is_dir():
        os.rename(folder, _free(folder))
    return folder


def _free(path: Path) -> Path:
    """``path``, or the first of ``path.1``, ``path.2``, … where nothing is."""
    number, free = 0, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free
