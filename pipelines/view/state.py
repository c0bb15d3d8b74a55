"""The state that views show: a pure fold over the events of a run, without any drawing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ...contracts.inference import Usage
from ..run.events import (
    Event,
    Notice,
    PartDone,
    RoundDone,
    RunEnded,
    RunStarted,
    StepDone,
    StepProgress,
    StepStarted,
)
from .comparison import ComparisonTable
from .training import trained

#: The current rate is measured over at least this many seconds, and at least this many parts.
WINDOW = 10.0
WINDOW_PARTS = 4
#: The figure of a training's progress that is kept as a curve.
HELD_OUT = "held_out_loss"


@dataclass(frozen=True, slots=True)
class StepView:
    """One step of the current round. Counts are of the whole step, over all sessions.

    ``earlier``: the rows that earlier sessions processed, which do not count for the speed.
    ``done``/``goal``/``unit``: the progress that the step reports. ``held_out``: the held-out losses of a
    training so far. ``seconds``: set when it is over.
    ``engines``: their occupancy, with the last step of a chain that used them. ``trained``: what a finished
    training has reached.
    """

    name: str
    label: str
    status: Literal["waiting", "running", "done", "reused"] = "waiting"
    rows_in: int | None = None
    handled: int = 0
    earlier: int = 0
    kept: int = 0
    filtered: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    started: float = 0.0
    updated: float = 0.0
    seconds: float = 0.0
    done: float = 0.0
    goal: float = 0.0
    unit: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    held_out: tuple[float, ...] = ()
    engines: tuple[Mapping[str, Any], ...] = ()
    trained: str = ""

    @property
    def doing(self) -> str:
        """What a step does that reports more than a unit: ``loading the model``."""
        return self.unit if " " in self.unit else ""

    def fraction(self) -> float | None:
        """The progress of the step, 0 to 1, or None if unknown."""
        if self.status in ("done", "reused"):
            return 1.0
        if self.rows_in and self.handled:
            return min(1.0, self.handled / self.rows_in)
        return min(1.0, self.done / self.goal) if self.goal else None

    def eta(self, now: float) -> float | None:
        """Seconds left at the mean speed of this session, or None if unknown."""
        elapsed = now - self.started
        if self.status != "running" or elapsed <= 0:
            return None
        if self.rows_in and self.handled > self.earlier:
            return elapsed * max(0, self.rows_in - self.handled) / (self.handled - self.earlier)
        if self.goal and self.done > 0:
            return elapsed * max(0.0, self.goal - self.done) / self.done
        return None

    def rate(self, now: float) -> float:
        """Generated tokens per second, averaged over the step's time so far."""
        seconds = self.seconds if self.status in ("done", "reused") else now - self.started
        return self.completion_tokens / seconds if seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class RoundView:
    """A finished round, with the final state of its steps."""

    number: int
    decision: str
    metrics: Mapping[str, Any]
    steps: tuple[StepView, ...]
    comparisons: tuple[ComparisonTable, ...] = ()
    gate: Mapping[str, Any] | None = None
    since_start: tuple[Mapping[str, Any], ...] = ()
    why: str | None = None


@dataclass(frozen=True, slots=True)
class RunView:
    """Everything that a view shows. ``parts``: (time, generated tokens) of the latest parts.

    ``usage`` and ``rows`` (generated ones) are those of this session. ``budget`` has the keys
    ``tokens``, ``rows`` and ``time`` (seconds) for which there is a limit.
    """

    run: str = ""
    name: str = ""
    round: int = 1
    rounds: int = 1
    started: float = 0.0
    now: float = 0.0
    steps: tuple[StepView, ...] = ()
    budget: Mapping[str, float] = field(default_factory=dict)
    spent_before: Mapping[str, float] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    rows: int = 0
    parts: tuple[tuple[float, int], ...] = ()
    notices: tuple[Notice, ...] = ()
    results: tuple[RoundView, ...] = ()
    locations: tuple[str, ...] = ()
    ended: RunEnded | None = None

    def step(self, name: str) -> StepView | None:
        return next((step for step in self.steps if step.name == name), None)

    def goes_on(self, event: RunStarted) -> bool:
        """Does the event continue the current round, with more items for its gate?"""
        over = bool(self.results) and self.results[-1].number == event.round
        return bool(self.started) and event.round == self.round and not over

    def has_done(self, event: StepDone) -> bool:
        """Was the step, which is now reused, done in this round of this session?"""
        step = self.step(event.step)
        return event.reused and step is not None and step.status == "done"

    def elapsed(self, now: float) -> float:
        """Seconds of this session."""
        return max(0.0, (self.ended.at if self.ended else now) - self.started)

    def spent(self, now: float) -> dict[str, float]:
        """The usage of each limited quantity, over all sessions."""
        session = {"tokens": self.usage.tokens, "rows": self.rows, "usd": self.usage.usd}
        session["time"] = self.elapsed(now)
        return {key: self.spent_before.get(key, 0.0) + session.get(key, 0.0) for key in self.budget}

    def rate(self, now: float) -> float | None:
        """Generated tokens per second over about the last ten seconds; None if nothing is generated."""
        if len(self.parts) < 2 or now <= self.parts[0][0]:
            return None
        span = now - self.parts[0][0]
        longest = max(later[0] - earlier[0] for earlier, later in zip(self.parts, self.parts[1:]))
        if now - self.parts[-1][0] > max(WINDOW, 3 * longest):
            return None
        return sum(tokens for _, tokens in self.parts[1:]) / span

    def mean_rate(self, now: float) -> float:
        """Generated tokens per second over the time in which steps were generating."""
        seconds = sum(
            step.seconds if step.status == "done" else now - step.started
            for step in (*(step for result in self.results for step in result.steps), *self.steps)
            if step.completion_tokens and step.status in ("done", "running")
        )
        return self.usage.completion_tokens / seconds if seconds > 0 else 0.0


def fold(view: RunView, event: Event) -> RunView:
    """The state after ``event``. Events about unknown steps are ignored."""
    view = replace(view, now=max(view.now, event.at))
    match event:
        case RunStarted():
            # A round that goes on with more items keeps what it has done.
            known = {step.name: step for step in view.steps} if view.goes_on(event) else {}
            steps = tuple(known.get(name, StepView(name, label)) for name, label in event.steps)
            view = replace(view, round=event.round, rounds=event.rounds, steps=steps, parts=())
            if view.started:  # a later round of the same session
                return view
            return replace(
                view,
                run=event.run,
                name=event.name,
                started=event.at,
                budget=dict(event.budget),
                spent_before=dict(event.spent),
            )
        case StepStarted():
            return _with(replace(view, parts=view.parts or ((event.at, 0),)), event.step, _started(event))
        case PartDone():
            parts = (*view.parts, (event.at, event.usage.completion_tokens))
            usage = _sum(view.usage, event.usage)
            rows = view.rows + event.generated
            view = replace(view, parts=_window(parts, event.at), usage=usage, rows=rows)
            return _with(view, event.step, _part(view.step(event.step), event))
        case StepDone():
            if view.has_done(event):
                return view
            place = _place(event.summary)
            if place is not None and place not in view.locations:
                view = replace(view, locations=(*view.locations, place))
            return _with(view, event.step, _finished(event))
        case StepProgress():
            return _with(view, event.step, _progress(view.step(event.step), event))
        case Notice():
            return replace(view, notices=(*view.notices, event))
        case RoundDone():
            tables = tuple(ComparisonTable.of(each) for each in event.comparisons)
            over = RoundView(
                event.round,
                event.decision,
                dict(event.metrics),
                view.steps,
                tables,
                event.gate,
                tuple(event.since_start),
                event.why,
            )
            return replace(view, results=(*view.results, over))
        case RunEnded():
            return replace(view, ended=event)
        case _:
            return view


def _with(view: RunView, name: str, changes: Mapping[str, Any]) -> RunView:
    steps = tuple(replace(step, **changes) if step.name == name else step for step in view.steps)
    return replace(view, steps=steps)


def _started(event: StepStarted) -> dict[str, Any]:
    return {
        "status": "running",
        "started": event.at,
        "updated": event.at,
        "rows_in": event.rows_in,
        "handled": event.done,
        "earlier": event.done,
    }


def _progress(step: StepView | None, event: StepProgress) -> dict[str, Any]:
    if step is None:
        return {}
    changes = {"done": event.done, "goal": event.total, "unit": event.unit, "updated": event.at}
    figures = dict(event.figures)
    measured = figures.pop(HELD_OUT, None)
    if measured is None:
        return {**changes, "figures": figures}
    return {**changes, "figures": figures or step.figures, "held_out": (*step.held_out, measured)}


def _part(step: StepView | None, event: PartDone) -> dict[str, Any]:
    if step is None:
        return {}
    return {
        "handled": step.handled + event.rows_in,
        "kept": step.kept + event.kept,
        "filtered": step.filtered + event.filtered,
        "failed": step.failed + event.failed,
        "prompt_tokens": step.prompt_tokens + event.usage.prompt_tokens,
        "completion_tokens": step.completion_tokens + event.usage.completion_tokens,
        "updated": event.at,
    }


def _finished(event: StepDone) -> dict[str, Any]:
    ledger = event.ledger
    return {
        "status": "reused" if event.reused else "done",
        "rows_in": ledger.rows_in,
        "handled": ledger.rows_in,
        "kept": ledger.kept,
        "filtered": ledger.filtered,
        "failed": ledger.failed,
        "prompt_tokens": event.usage.prompt_tokens,
        "completion_tokens": event.usage.completion_tokens,
        "seconds": event.seconds,
        "updated": event.at,
        "engines": tuple(event.engines),
        "trained": trained(event.summary),
    }


def _sum(usage: Usage, more: Usage) -> Usage:
    total = replace(usage)
    total.add(more)
    return total


def _window(parts: tuple[tuple[float, int], ...], now: float) -> tuple[tuple[float, int], ...]:
    """The parts within the time window, and at least the minimum number."""
    recent = sum(1 for at, _ in parts if at >= now - WINDOW)
    return parts[-max(recent, WINDOW_PARTS) :]


def _place(summary: Mapping[str, Any]) -> str | None:
    """The path of an export: its single file, or the directory of several. None for other steps."""
    if "location" not in summary:
        return None
    location, files = str(summary["location"]), summary.get("files", ())
    if len(files) != 1:
        return location
    return str(files[0]) if location == "." else f"{location.rstrip('/')}/{files[0]}"
