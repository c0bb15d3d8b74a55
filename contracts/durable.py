"""Makes what was written durable: after a power cut it is there, under its name, and whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def flush(path: Path) -> None:
    """Make a file's bytes, or the names in a folder, durable. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_tree(folder: Path) -> None:
    """Flush every file and every folder below ``folder``, and itself. Raises OSError."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
            flush(path)
    flush(folder)


def place_directory(ready: Path, directory: Path) -> None:
    """Flush the folder ``ready``, rename it to ``directory`` in place of what is there, and flush the name.

    Raises OSError.
    """
    flush_tree(ready)
    if directory.exists():
        shutil.rmtree(directory)
    ready.rename(directory)
    flush(directory.parent)
