"""Chooses the view for the kind of output."""

from __future__ import annotations

import sys
from typing import TextIO

from ..run.events import Observer
from .notebook import NotebookView, in_notebook


def choose(quiet: bool = False, json: bool = False, stream: TextIO | None = None) -> Observer:
    """JSON if requested, else only the result if quiet, else what fits the output: an output that is updated
    in a notebook, the live view on a terminal, lines elsewhere.
    """
    if stream is None and not json and not quiet and in_notebook():
        return NotebookView()
    stream = stream if stream is not None else sys.stdout
    if json:
        from .json_lines import JsonView

        return JsonView(stream)
    if quiet:
        from .silent import SilentView

        return SilentView(stream)
    if stream.isatty():
        from .live import LiveView

        return LiveView(stream)
    from .plain import PlainView

    return PlainView(stream)
