"""Students that are compared with the same one, on the same items, make one table."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from gristmill.contracts.inference import Usage
from gristmill.pipelines.file.load import loads
from gristmill.pipelines.plan.make import make_plan
from gristmill.pipelines.run.comparisons import comparisons
from gristmill.pipelines.run.events import RoundDone, RunEnded, RunStarted
from gristmill.pipelines.view.comparison import ComparisonTable
from gristmill.pipelines.view.state import RunView, fold
from gristmill.pipelines.view.summary import summary

FILE = """
gristmill: 1
name: choices
models: {base: {path: smollm2-135m-instruct}}
steps:
  pool:  {source: jsonl, path: []}
  held:  {source: jsonl, path: []}
  other: {source: jsonl, path: []}
  random:  {select: random, rows: 10, from: pool}
  longest: {select: longest, rows: 10, from: pool}
  random_student:  {train: sft, from: random, model: base}
  longest_student: {train: sft, from: longest, model: base}
  untrained: {evaluate: likelihood, tasks: held, model: base, against: random_student}
  verdict:   {evaluate: likelihood, tasks: held, model: longest_student, against: random_student}
  elsewhere: {evaluate: likelihood, tasks: other, model: longest_student, against: random_student}
  alone:     {evaluate: likelihood, tasks: held, model: longest_student}
"""


def of(summary: dict[str, Any], kept: int = 0) -> Any:
    return SimpleNamespace(manifest={"summary": summary, "ledger": {"kept": kept}})


def measured(score: float, gain: float) -> dict[str, Any]:
    return {
        "n": 7,
        "model": {"mean_logprob": score},
        "against": {"mean_logprob": -1.5},
        "gain": {"metric": "mean_logprob", "mean": gain, "ci_low": gain - 0.1, "ci_high": gain + 0.1, "n": 7},
    }


def found() -> list[dict[str, Any]]:
    plan = make_plan(loads(FILE, "f.yaml"), file="f.yaml", digest_of=lambda model: "d")
    stores = {step.name: of({}) for step in plan.steps}
    stores |= {"random_student": of({}, 10), "longest_student": of({}, 9)}
    stores |= {"untrained": of(measured(-2.0, -0.5)), "verdict": of(measured(-1.25, 0.25))}
    stores |= {"elsewhere": of(measured(-9.0, 0.0)), "alone": of({"n": 7, "model": {"mean_logprob": -1.25}})}
    return comparisons(plan, stores)


def test_a_choice_is_named_by_its_rows_beside_the_one_it_is_compared_with() -> None:
    (table,) = found()
    assert (table["against"], table["metric"], table["tasks"]) == ("random", "mean_logprob", "held")
    lines = [(each["choice"], each["rows"], each["score"], each["step"]) for each in table["choices"]]
    assert lines == [
        ("random", 10, -1.5, None),
        ("base", None, -2.0, "untrained"),
        ("longest", 9, -1.25, "verdict"),
    ]
    assert [each["gain"] and each["gain"]["mean"] for each in table["choices"]] == [None, -0.5, 0.25]


def test_an_evaluation_that_measured_nothing_is_no_table() -> None:
    plan = make_plan(loads(FILE, "f.yaml"), file="f.yaml", digest_of=lambda model: "d")
    assert comparisons(plan, {step.name: of({"n": 0}) for step in plan.steps}) == []


def test_a_likelihood_is_shown_as_a_loss() -> None:
    shown = ComparisonTable.of(found()[0])
    assert shown.heading == ("choice", "rows", "held-out loss", "gain over random")
    assert shown.lines[0] == ("random", "10", "1.5000", "")
    assert shown.lines[2] == ("longest", "9", "1.2500", "+0.2500 [+0.1500, +0.3500]")


def test_the_summary_has_the_table_instead_of_its_gains() -> None:
    started = RunStarted(
        at=1.0, run="r", name="n", round=1, rounds=1, steps=[("verdict", "evaluate: x")], budget={}, spent={}
    )
    metrics = {"verdict": measured(-1.25, 0.25), "elsewhere": measured(-9.0, 0.5)}
    done = RoundDone(at=2.0, round=1, decision="none", metrics=metrics, comparisons=found())
    ended = RunEnded(at=3.0, status="done", message="", seconds=2.0, usage=Usage())
    view = RunView()
    for event in (started, done, ended):
        view = fold(view, event)
    console = Console(file=io.StringIO(), width=100, record=True)
    console.print(summary(view, (0, 0)))
    text = console.export_text()
    assert "longest" in text
    assert "+0.2500 [+0.1500, +0.3500]" in text
    assert "verdict.gain" not in text
    assert "elsewhere.gain" in text
