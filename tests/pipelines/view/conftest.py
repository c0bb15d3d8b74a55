"""The events of a run, as its observers see them."""

from __future__ import annotations

import pytest

from gristmill.contracts.inference import Usage
from gristmill.pipelines.run.events import (
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
from gristmill.pipelines.store.ledger import Ledger


@pytest.fixture
def events() -> list[Event]:
    """One round: seeds reused, answers in two parts, a student trained, a verdict."""
    steps = [("seeds", "source: jsonl"), ("answers", "generate: respond"), ("student", "train: sft")]
    part = Usage(requests=10, prompt_tokens=100, completion_tokens=500)
    whole = Usage(requests=20, prompt_tokens=200, completion_tokens=1000)
    gain = {"metric": "strict", "mean": 0.12, "ci_low": 0.04, "ci_high": 0.2}
    return [
        RunStarted(
            at=1000.0,
            run="runs/one",
            name="verified [instructions]",
            round=1,
            rounds=2,
            steps=steps,
            budget={"tokens": 4000, "time": 60.0},
            spent={"tokens": 1000, "rows": 5, "time": 10.0},
        ),
        StepDone(
            at=1000.0,
            step="seeds",
            ledger=Ledger(20, 20, 20, 0, 0),
            usage=Usage(),
            seconds=0.1,
            reused=True,
            summary={},
        ),
        StepStarted(at=1001.0, step="answers", rows_in=20, done=0),
        PartDone(
            at=1003.0, step="answers", rows_in=10, kept=8, filtered=1, failed=1, usage=part, seconds=2.0
        ),
        PartDone(at=1005.0, step="answers", rows_in=5, kept=5, filtered=0, failed=0, usage=part, seconds=2.0),
        Notice(at=1005.5, text="the engine died and was started again", level="warning"),
        StepDone(
            at=1006.0,
            step="answers",
            ledger=Ledger(20, 20, 18, 1, 1),
            usage=whole,
            seconds=5.0,
            reused=False,
            summary={"location": "runs/one/exports/answers"},
        ),
        StepStarted(at=1006.0, step="student", rows_in=18),
        StepProgress(at=1016.0, step="student", done=2, total=8, unit="steps", figures={"loss": 1.25}),
        StepDone(
            at=1046.0,
            step="student",
            ledger=Ledger(18, 18, 18, 0, 0),
            usage=Usage(),
            seconds=40.0,
            reused=False,
            summary={},
        ),
        RoundDone(
            at=1047.0,
            round=1,
            decision="promoted",
            metrics={"verdict": {"model": {"strict": 0.42}, "against": {"strict": 0.3}, "gain": gain}},
        ),
        RunEnded(at=1048.0, status="done", message="", seconds=48.0, usage=whole),
    ]
