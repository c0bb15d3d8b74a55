"""Picks the view that fits where the output goes."""

from __future__ import annotations

import sys
from typing import TextIO

from ..run.events import Observer


def choose(quiet: bool = False, json: bool = False, stream: TextIO | None = None) -> Observer:
    """JSON where asked for, else nothing but the end where quiet, else by whether it is a terminal."""
    stream = stream if stream is not None else sys.stdout
    if json:
        from .jsonl import JsonView

        return JsonView(stream)
    if quiet:
        from .silent import SilentView

        return SilentView(stream)
    if stream.isatty():
        from .live import LiveView

        return LiveView(stream)
    from .plain import PlainView

    return PlainView(stream)
