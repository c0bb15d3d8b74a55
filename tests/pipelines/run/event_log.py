"""An observer that records the steps that ran and the notices."""

from __future__ import annotations

from gristmill.pipelines.run.events import Event, Notice, StepDone


class Log:
    def __init__(self) -> None:
        self.made: list[str] = []
        self.notices: list[str] = []

    def on(self, event: Event) -> None:
        if isinstance(event, StepDone) and not event.reused:
            self.made.append(event.step)
        if isinstance(event, Notice):
            self.notices.append(event.text)
