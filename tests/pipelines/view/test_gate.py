"""The lines of a gate, and what the whole loop gained."""

from __future__ import annotations

import io
from dataclasses import asdict

import numpy as np

from gristmill.contracts.inference import Usage
from gristmill.pipelines.file.gate import GateSpec
from gristmill.pipelines.run.events import RoundDone, RunEnded, RunStarted, StepDone, StepStarted
from gristmill.pipelines.run.gate.verdict import judge
from gristmill.pipelines.run.gate.yardstick import Measured, Yardstick
from gristmill.pipelines.store.ledger import Ledger
from gristmill.pipelines.view.gate import gate_lines
from gristmill.pipelines.view.plain import PlainView
from gristmill.pipelines.view.state import RunView, fold

GATE = GateSpec.model_validate({"promote": "verdict", "retain": {"suite": 0.05}, "looks": 2})
SINCE = {"evaluation": "verdict", "metric": "strict", "start": 0.18, "now": 0.24, "n": 80, "mean": 0.06,
         "ci_low": 0.01, "ci_high": 0.11}  # fmt: skip


def found(failed: int = 0) -> dict[str, object]:
    wins = Measured(np.repeat([1.0, -1.0, 0.0], [12, 6, 42]), failed)
    ties = Measured(np.zeros(60))
    shares = (0.5, 1.0)
    yardsticks = [
        Yardstick("verdict", "promote", (wins, wins), shares),
        Yardstick("suite", "retain", (ties,), shares, margin=0.05),
    ]
    return {**judge(GATE, yardsticks).record(), "steps": ["verdict_1of2", "verdict_2of2", "suite_1of2"]}


def test_each_yardstick_has_a_line() -> None:
    verdict, suite = gate_lines(found(failed=3))
    assert verdict.split()[:4] == ["verdict", "promote", "not", "shown"]
    assert "+0.100 [" in verdict
    assert "at 0.95, 63 items, 3 failed, look 2 of 2; about " in verdict
    assert suite.split()[:3] == ["suite", "retain", "-0.05"]
    assert "60 items, look 1 of 2" in suite


def started(round_number: int, *steps: str) -> RunStarted:
    return RunStarted(
        at=1.0, run="runs/x", name="x", round=round_number, rounds=2, steps=[(name, "e") for name in steps],
        budget={}, spent={},
    )  # fmt: skip


def done(step: str, *, reused: bool = False) -> StepDone:
    ledger = Ledger(rows_in=4, kept=4)
    return StepDone(at=3.0, step=step, ledger=ledger, usage=Usage(), seconds=2.0, reused=reused, summary={})


def test_a_round_that_goes_on_keeps_what_it_has_done() -> None:
    text = io.StringIO()
    view = PlainView(text)
    for event in (
        started(1, "a"), StepStarted(at=2.0, step="a", rows_in=4), done("a"), started(1, "a", "b"),
        done("a", reused=True), done("b"),
    ):  # fmt: skip
        view.on(event)
    assert [(step.name, step.status) for step in view.view.steps] == [("a", "done"), ("b", "done")]
    lines = text.getvalue().splitlines()
    assert [line.split(" ")[0] for line in lines] == ["x,", "a", "b"]
    # The next round starts anew.
    over = RoundDone(at=4.0, round=1, decision="kept", metrics={})
    state = fold(fold(view.view, over), started(2, "a"))
    assert [step.status for step in state.steps] == ["waiting"]
    assert isinstance(state, RunView)


def test_the_last_line_of_a_run_is_what_the_whole_loop_gained() -> None:
    text = io.StringIO()
    view = PlainView(text)
    view.on(started(1, "a"))
    metrics = {"verdict_1of2": {"gain": {"mean": 0.777, "ci_low": 0.7, "ci_high": 0.8}}}
    for number, decision in ((1, "promoted"), (2, "abstained")):
        view.on(
            RoundDone(
                at=4.0,
                round=number,
                decision=decision,
                metrics=metrics,
                gate=found(),
                why="a reason",
                since_start=[SINCE],
            )
        )
    view.on(RunEnded(at=5.0, status="done", message="done", seconds=4.0, usage=Usage()))
    lines = [line.strip() for line in text.getvalue().splitlines() if line.strip()]
    assert lines[-1] == (
        "whole loop: verdict strict 0.180 -> 0.240, +0.060 [+0.010, +0.110] against round 0 "
        "(1 of 2 rounds promoted)"
    )
    assert "round 2: abstained (a reason)" in lines
    # The gate's own line stands in place of those of the looks.
    assert not any("0.777" in line for line in lines)
    assert asdict(view.view.results[0])["gate"]["decision"] == "abstained"
