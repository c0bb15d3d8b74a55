"""Atomic replacement of files and directories, safe against kills and power cuts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def place_directory(ready: Path, directory: Path) -> None:
    """Flush every file of the directory ``ready`` and rename it to ``directory``, replacing what is there.

    Raises OSError.
    """
    for path in ready.rglob("*"):
        flush(path)
    flush(ready)
    if directory.exists():
        shutil.rmtree(directory)
    ready.rename(directory)
    flush(directory.parent)


def flush(path: Path) -> None:
    """Make a file's bytes, or a directory's entries, durable. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
