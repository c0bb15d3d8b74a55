"""The time that one step of a run takes, without what comes before it."""

from __future__ import annotations

from gristmill.pipelines.run.events import Event, PartDone, StepStarted


class StepClock:
    """An observer: when the first micro-batch of a step could start, and when the last one was committed."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.first = self.last = 0.0

    def on(self, event: Event) -> None:
        if isinstance(event, StepStarted) and event.step == self.step:
            self.first = event.at
        if isinstance(event, PartDone) and event.step == self.step:
            self.last = event.at

    @property
    def seconds(self) -> float:
        return self.last - self.first
