"""The quiet view: warnings, and one line at the end."""

from __future__ import annotations

from typing import TextIO

from ...contracts.printable import shown
from ..run.events import Event, Notice, RunEnded
from .state import RunView, fold


class SilentView:
    """Prints only warnings and the result."""

    def __init__(self, stream: TextIO) -> None:
        self.view = RunView()
        self._stream = stream

    def on(self, event: Event) -> None:
        self.view = fold(self.view, event)
        if isinstance(event, Notice) and event.level == "warning":
            print(f"warning: {event.text}", file=self._stream, flush=True)
        elif isinstance(event, RunEnded) and self.view.started:
            from .summary import headline

            print(shown(headline(self.view)), file=self._stream, flush=True)
