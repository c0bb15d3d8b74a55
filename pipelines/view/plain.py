"""Plain lines for logs and pipes: one per finished step, and regular ones while a step runs."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console

from ...contracts.counting import counted
from ...contracts.printable import shown
from ..run.events import Event, Notice, PartDone, RunEnded, RunStarted, StepDone, StepProgress
from .state import RunView, StepView, fold
from .summary import duration, peak_memory, summary

#: Seconds between two lines of progress.
EVERY = 15.0


class PlainView:
    """Writes whole lines without control codes, each flushed."""

    def __init__(self, stream: TextIO) -> None:
        self.view = RunView()
        self._stream = stream
        self._last = 0.0
        #: What a step was last said to do, of those that take long before their first rows.
        self._doing = ""

    def on(self, event: Event) -> None:
        before, self.view = self.view, fold(self.view, event)
        match event:
            case RunStarted() if before.goes_on(event):
                self._last = event.at
            case StepDone() if before.has_done(event):
                return
            case RunStarted():
                self._last = event.at
                which = f", round {event.round} of {event.rounds}" if event.rounds > 1 else ""
                self._line(f"{event.name}{which}: {len(event.steps)} steps in {event.run}")
            case StepDone():
                step = self.view.step(event.step)
                if step is not None:
                    self._line(done_line(step))
            case StepProgress() if " " in event.unit and f"{event.step}: {event.unit}" != self._doing:
                self._doing = f"{event.step}: {event.unit}"
                self._line(f"  {self._doing}")
            case PartDone() | StepProgress() if event.at - self._last >= EVERY:
                self._last = event.at
                for running in self.view.steps:
                    if running.status == "running" and running.updated > running.started:
                        self._line(progress_line(running, event.at))
            case Notice():
                self._line(f"warning: {event.text}" if event.level == "warning" else event.text)
            case RunEnded() if self.view.started:
                console = Console(file=self._stream, force_terminal=False, color_system=None, width=120)
                console.print(summary(self.view, peak_memory()))
                self._stream.flush()

    def _line(self, text: str) -> None:
        print(shown(text), file=self._stream, flush=True)


def done_line(step: StepView) -> str:
    """``answers (generate: respond): 400 in, 1,600 kept, 12 failed, 52,000 tokens, 3 min 05 s``."""
    parts = [f"{step.handled:,} in", f"{step.kept:,} kept"]
    parts += [f"{step.filtered:,} filtered"] if step.filtered else []
    parts += [f"{step.failed:,} failed"] if step.failed else []
    if step.completion_tokens:
        parts.append(f"{step.completion_tokens:,} tokens ({step.rate(0.0):,.0f}/s)")
    parts.append("reused" if step.status == "reused" else duration(step.seconds))
    parts += [step.trained] if step.trained else []
    line = f"{step.name} ({step.label}): {', '.join(parts)}"
    # Nobody filters everything on purpose, and the steps that follow say nothing about it.
    return f"{line}: no row is left for the steps that follow" if step.handled and not step.kept else line


def progress_line(step: StepView, now: float) -> str:
    """``  answers: 62%, 990 kept, 812 tokens/s, loss 1.23, about 2 min 10 s left``, or ``finishing``."""
    fraction, eta = step.fraction(), step.eta(now)
    done = f"{fraction:.0%}" if fraction is not None else counted(step.handled, "row")
    parts = [f"{step.doing} {done}".lstrip()]
    parts += [f"{step.kept:,} kept"] if step.kept else []
    parts += [f"{step.rate(now):,.0f} tokens/s"] if step.completion_tokens else []
    parts += [f"{name} {value:.4g}" for name, value in step.figures.items()]
    parts += [f"held out {step.held_out[-1]:.4g}"] if step.held_out else []
    # All rows were handed over, and the step still decides, writes or compiles: no time is known.
    parts += [f"about {duration(eta)} left"] if eta else ["finishing"] if eta == 0 else []
    return f"  {step.name}: {', '.join(parts)}"
