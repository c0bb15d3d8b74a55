"""Puts what was written in its place so that neither a kill nor a power cut leaves half of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def place_directory(ready: Path, directory: Path) -> None:
    """Flush every file of the folder ``ready``, rename it to ``directory`` in place of what is there, and
    flush the name.

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
    """Make a file's bytes, or the names in a folder, durable. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
