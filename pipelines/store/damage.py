"""Damage: files of a run that differ from what was written, and how they are set aside."""

from __future__ import annotations

import os
from pathlib import Path

from ...contracts.errors import StoreError

#: The folder for the damaged files of a run; each keeps its relative path.
FOLDER = "damaged"


class Damaged(StoreError):
    """A file differs from what was written: it is missing, changed, or not a file.

    ``path``: the file. ``what``: what is wrong with it, in a few words.
    """

    remedy = "`gristmill check RUN --repair` sets it aside, and the next run makes just this again"

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path} is damaged ({what}): {self.remedy}")
        self.path = path
        self.what = what


class Stranger(Damaged):
    """A foreign file in a folder that is loaded as a whole."""

    remedy = "the next run moves it away"


def set_aside(path: Path, run: Path) -> Path | None:
    """Move the file or folder at ``path`` aside, without following links; return its new path.

    A path inside the run directory is moved to ``RUN/damaged``, any other path is renamed in its folder.
    Returns None if nothing is there, or if it cannot be moved (a read-only store: the next error names the
    file).
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
    if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir()):
        os.rename(folder, _free(folder))
    return folder


def _free(path: Path) -> Path:
    """``path``, or the first of ``path.1``, ``path.2``, … that does not exist."""
    number, free = 0, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free
