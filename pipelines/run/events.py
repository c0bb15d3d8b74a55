"""The events of a run: one small frozen record for each thing that happens.

Views, metrics and tests all read these events; the run itself never prints.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ...contracts.inference import Usage
from ...contracts.printable import shown
from ..store.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """``at``: seconds since the epoch."""

    at: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A round begins. ``steps``: (name, label) in the order of execution. ``budget``: the limits."""

    run: str
    name: str
    round: int
    rounds: int
    steps: list[tuple[str, str]]
    budget: dict[str, float]
    spent: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted(Event):
    """A step begins. ``rows_in``: input rows, if countable. ``done``: those committed by earlier sessions."""

    step: str
    rows_in: int | None
    done: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PartDone(Event):
    """A micro-batch of a step is committed. The counts are its own, not running totals.

    ``generated``: the new rows that models made.
    """

    step: str
    rows_in: int
    kept: int
    filtered: int
    failed: int
    usage: Usage
    seconds: float
    generated: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone(Event):
    """A step is complete, now or (``reused``) by an earlier run.

    ``engines``: their occupancy (occupancy.py).
    """

    step: str
    ledger: Ledger
    usage: Usage
    seconds: float
    reused: bool
    summary: dict[str, Any]
    engines: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProgress(Event):
    """The progress of a long operation, in its own unit."""

    step: str
    done: float
    total: float
    unit: str
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Event):
    """A sentence for the user. Secrets and control sequences are removed."""

    text: str
    level: Literal["info", "warning"] = "info"

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", shown(self.text))


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundDone(Event):
    """A round is over. ``decision``: promoted, kept, abstained, contaminated (the student was trained on
    items that decide), or none if the file has no loop. ``comparisons``: see comparisons.py. ``gate``: the
    verdict of the file's gate (gate/verdict.py). ``since_start``: see gate/measured.py. ``why``: a sentence.
    """

    round: int
    decision: str
    metrics: dict[str, dict[str, Any]]
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    gate: dict[str, Any] | None = None
    since_start: list[dict[str, Any]] = field(default_factory=list)
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(Event):
    """The run stops. ``message`` says why and how to continue, without secrets and control sequences."""

    status: Literal["done", "budget", "interrupted", "failed"]
    message: str
    seconds: float
    usage: Usage

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", shown(self.message))


class Observer(Protocol):
    """An observer of events. Called from the run's own thread, in order; must be quick and must not raise."""

    def on(self, event: Event) -> None: ...


class Observers:
    """Several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        self.observers = observers

    def on(self, event: Event) -> None:
        for observer in self.observers:
            observer.on(event)
