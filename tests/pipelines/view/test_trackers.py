"""Metrics: which values are sent, that a broken service never stops a run, and what to install."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gristmill.contracts.inference import Usage
from gristmill.pipelines.run.events import RoundDone, RunEnded, RunStarted, StepDone, StepProgress
from gristmill.pipelines.store.ledger import Ledger
from gristmill.pipelines.view.services import SERVICES, MetricsError
from gristmill.pipelines.view.trackers import MetricsObserver, observer


class Kept:
    """A tracker that keeps everything in memory."""

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken
        self.parameters: dict[str, Any] = {}
        self.figures: dict[tuple[str, int], float] = {}
        self.status = ""

    def start(self, project: str, parameters: Mapping[str, Any], run: Path) -> None:
        self.parameters = {"project": project, **parameters}

    def log(self, figures: Mapping[str, float], step: int) -> None:
        if self.broken:
            raise ConnectionError("server gone")
        self.figures |= {(name, step): value for name, value in figures.items()}

    def finish(self, status: str) -> None:
        self.status = status


def events(round: int) -> list[Any]:
    ledger = Ledger(rows_in=5, made=0, kept=3, filtered=1, failed=1)
    done = {
        "ledger": ledger,
        "usage": Usage(1, 20, 30),
        "seconds": 1.5,
        "summary": {"gain": {"mean": 0.25, "text": "x"}},
    }
    return [
        RunStarted(
            run="r", name="tiny", round=round, rounds=2, steps=[("a", "b")], budget={"tokens": 9.0}, spent={}
        ),
        StepDone(step="verdict", reused=False, **done),
        StepDone(step="old", reused=True, **done),
        StepProgress(step="student", done=4, total=8, unit="steps", figures={"loss": 2.5}),
        RoundDone(round=round, decision="promoted", metrics={}),
    ]


def test_figures_of_steps_training_and_rounds_go_out() -> None:
    tracker = Kept()
    watching = MetricsObserver(tracker)
    for event in [*events(1), *events(2), RunEnded(status="done", message="", seconds=1.0, usage=Usage())]:
        watching.on(event)
    assert tracker.parameters == {"project": "tiny", "run": "r", "rounds": 2, "budget.tokens": 9.0}
    assert tracker.figures["verdict.kept", 1] == 3
    assert tracker.figures["verdict.gain.mean", 2] == 0.25
    assert tracker.figures["student.loss", 4] == 2.5
    assert tracker.figures["round.promoted", 2] == 1
    assert not any(name.startswith("old.") or "text" in name for name, _ in tracker.figures)
    assert tracker.status == "done"
    assert watching.failure is None


def test_no_secret_goes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "planted-value")
    tracker, broken = Kept(), MetricsObserver(Kept(broken=True))
    started = RunStarted(run="runs/planted-value", name="n", round=1, rounds=1, steps=[], budget={}, spent={})
    MetricsObserver(tracker).on(started)
    assert tracker.parameters["run"] == "runs/***"
    monkeypatch.setattr(Kept, "log", lambda *_: Path("/absent/planted-value").read_text())
    for event in events(1):
        broken.on(event)
    assert "/absent/***" in (broken.failure or "")


def test_a_service_that_breaks_does_not_stop_the_run() -> None:
    tracker = Kept(broken=True)
    watching = MetricsObserver(tracker)
    for event in [*events(1), RunEnded(status="done", message="", seconds=1.0, usage=Usage())]:
        watching.on(event)
    assert watching.failure == "metrics are off from now on: ConnectionError: server gone"
    assert tracker.status == ""


def test_an_unknown_service_is_named() -> None:
    with pytest.raises(MetricsError, match="found 'wandbb'; name one of mlflow, tensorboard, trackio, wandb"):
        observer("wandbb")


@pytest.mark.parametrize("name", SERVICES)
def test_a_missing_service_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    for module in [each for each in sys.modules if each.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(MetricsError, match=rf"gristmill\[{name}\]"):
        observer(name)
