"""Imports into a warm process what a fork of it needed: the next forks have that from the start."""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from pathlib import Path


def tell(file: Path) -> None:
    """List the modules of this process in ``file``."""
    file.write_text("\n".join(sys.modules))


def load(file: Path) -> None:
    """Import the listed modules. Threads do not survive a fork: none is started."""
    for name in file.read_text().splitlines():
        with suppress(Exception):
            importlib.import_module(name)
