"""What a run tells those who watch it: a stream of small frozen events.

A run holds one :class:`Observer` and calls it from one thread at a time. Observers only look: what
they raise would end the run, so they handle every event they do not know by ignoring it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from ..inference import Usage

if TYPE_CHECKING:
    from ..store.ledger import Ledger

Status: TypeAlias = Literal["done", "budget", "interrupted", "failed"]
Decision: TypeAlias = Literal["promoted", "kept", "abstained", "none"]


@dataclass(frozen=True, kw_only=True)
class Happened:
    """Something that happened, ``at`` seconds since the epoch."""

    at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class RunStarted(Happened):
    """A session began. ``run``: the directory. ``name``: the pipeline's. ``steps``: (name, label).

    ``budget`` and ``spent`` have the keys ``tokens``, ``rows`` and ``seconds`` where they are
    bounded; ``spent`` is what earlier sessions on this directory used.
    """

    run: str
    name: str
    round: int
    rounds: int
    steps: tuple[tuple[str, str], ...]
    budget: Mapping[str, float] = field(default_factory=dict)
    spent: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RoundStarted(Happened):
    """A round (counted from 1) began; also the first of a session."""

    round: int
    rounds: int
    steps: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class StepStarted(Happened):
    """A step began. ``rows_in``: its input rows, ``total``: those to handle before it is done; None
    where nobody knows yet. ``before``: what earlier sessions have already done of it."""

    step: str
    rows_in: int | None = None
    total: int | None = None
    before: Ledger | None = None


@dataclass(frozen=True)
class PartDone(Happened):
    """A part of a step was committed: the counts and the ``usage`` of this part alone."""

    step: str
    rows_in: int
    kept: int
    filtered: int
    failed: int
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0


@dataclass(frozen=True)
class StepDone(Happened):
    """A step is complete: the counts and the usage of the whole step, over all sessions.

    ``reused``: it was already complete, and nothing ran. ``summary``: the operator's figures.
    """

    step: str
    ledger: Ledger
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    reused: bool = False
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress(Happened):
    """How far a long piece of work is. ``figures``: what it measures as it goes (``loss``, ``lr``)."""

    step: str
    done: float
    total: float
    unit: str
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Notice(Happened):
    """Something a person may want to know."""

    text: str
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True)
class RoundDone(Happened):
    """A round is over. ``metrics``: the summaries of its evaluate steps, by step."""

    round: int
    decision: Decision = "none"
    promoted: bool | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunEnded(Happened):
    """The session is over. ``seconds`` and ``usage``: of this session. ``message``: why, and the way on."""

    status: Status
    message: str = ""
    seconds: float = 0.0
    usage: Usage = field(default_factory=Usage)


Event: TypeAlias = (
    RunStarted | RoundStarted | StepStarted | PartDone | StepDone | Progress | Notice | RoundDone | RunEnded
)


class Observer(Protocol):
    """Watches a run."""

    def on(self, event: Event) -> None:
        """Called for each event, in order."""
        ...
