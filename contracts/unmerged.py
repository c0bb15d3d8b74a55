"""Directories of adapters that cannot be merged: the trainer writes them, and an engine attaches them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

#: The file with the settings of an adapter in the trainer's own layout.
SETTINGS = "own_adapter.json"
#: The field with what an engine computes with. Only adapters that cannot be merged have it.
COMPUTES = "computes"


def unmerged_settings(adapter: Path) -> dict[str, Any] | None:
    """Return what an engine computes with, None if the directory is no adapter that cannot be merged."""
    try:
        settings = json.loads((adapter / SETTINGS).read_text())
    except (OSError, ValueError):
        return None
    found = settings.get(COMPUTES) if isinstance(settings, dict) else None
    return found if isinstance(found, dict) else None
