"""Sends a run's metrics to MLflow, TensorBoard, trackio or W&B if the user names one; off by default.

Sent are, per step, its row counts, tokens, seconds and numeric summary; training metrics as they
arrive; and each round's decision. Rows, prompts and keys are never sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...contracts.printable import shown
from ..run.events import Event, Observer, RoundDone, RunEnded, RunStarted, StepDone, StepProgress
from .services import SERVICES, MetricsError, Tracker


class MetricsObserver:
    """Observes a run and sends its metrics to a tracker.

    A tracker that fails is dropped at once (``failure`` says why): a run never stops because of its metrics.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._round = 0
        self._started = False
        self.failure: str | None = None

    def on(self, event: Event) -> None:
        if self.failure is not None:
            return
        try:
            self._take(event)
        except Exception as error:  # the server is down, its disk is full
            self.failure = shown(f"metrics are off from now on: {type(error).__name__}: {error}")

    def _take(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._round = event.round
            if not self._started:
                self._started = True
                limits = {f"budget.{name}": limit for name, limit in event.budget.items()}
                parameters = {"run": shown(event.run), "rounds": event.rounds, **limits}
                self._tracker.start(event.name, parameters, Path(event.run))
        elif isinstance(event, StepDone) and not event.reused:
            ledger, usage = event.ledger, event.usage
            figures = {
                "rows_in": ledger.rows_in,
                "kept": ledger.kept,
                "filtered": ledger.filtered,
                "failed": ledger.failed,
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "seconds": event.seconds,
                **flattened(event.summary),
            }
            self._log(event.step, figures, self._round)
        elif isinstance(event, StepProgress) and event.figures:
            self._log(event.step, event.figures, int(event.done))
        elif isinstance(event, RoundDone):
            self._log("round", {"promoted": float(event.decision == "promoted")}, event.round)
        elif isinstance(event, RunEnded) and self._started:
            self._tracker.finish(event.status)

    def _log(self, prefix: str, figures: Mapping[str, float], step: int) -> None:
        self._tracker.log({f"{prefix}.{name}": float(value) for name, value in figures.items()}, step)


def flattened(summary: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a nested summary, by dotted path."""
    found: dict[str, float] = {}
    for name, value in summary.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{inner}": figure for inner, figure in flattened(value).items()}
        elif isinstance(value, (bool, int, float)):
            found[name] = float(value)
    return found


def observer(service: str) -> Observer:
    """An observer for the named service. Raises MetricsError if it is unknown or cannot be used."""
    if service not in SERVICES:
        raise MetricsError(f"metrics: found {service!r}; name one of {', '.join(SERVICES)}, or none")
    return MetricsObserver(SERVICES[service]())
