"""An observer that records the steps that ran, the rounds that ended and the notices."""

from __future__ import annotations

from gristmill.pipelines.run.events import Event, Notice, RoundDone, StepDone


class Log:
    """``made``: the steps that ran and were not reused; ``made_in``: the same, each with its round."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.made_in: list[tuple[int, str]] = []
        self.rounds: list[RoundDone] = []
        self.notices: list[str] = []

    @property
    def decisions(self) -> list[str]:
        return [each.decision for each in self.rounds]

    def on(self, event: Event) -> None:
        if isinstance(event, StepDone) and not event.reused:
            self.made.append(event.step)
            self.made_in.append((len(self.rounds) + 1, event.step))
        if isinstance(event, RoundDone):
            self.rounds.append(event)
        if isinstance(event, Notice):
            self.notices.append(event.text)
