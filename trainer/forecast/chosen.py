"""What a training chooses by the free memory, kept for a training that goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from ...contracts.durable import replace
from ..parallel import Processes


def chosen(kept: Path, name: str, choose: Callable[[], int]) -> int:
    """Return what the file ``kept`` holds under ``name``; if there is none, the least that processes choose.

    All processes must call it.
    """
    processes = Processes.current()
    found: int = json.loads(kept.read_text())[name] if kept.is_file() else choose()
    found = min(processes.gather(found))
    if processes.first:
        kept.parent.mkdir(parents=True, exist_ok=True)
        written = kept.with_suffix(".tmp")
        written.write_text(json.dumps({name: found}) + "\n")
        replace(written, kept)
    return found
