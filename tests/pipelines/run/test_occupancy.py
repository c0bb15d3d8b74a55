"""Engine occupancy is computed from the spans of requests;
free slots lead to more micro-batches in flight.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

import gristmill
from gristmill.pipelines.run.events import Event, StepDone
from gristmill.pipelines.run.occupancy import Spans, measure, told
from gristmill.pipelines.run.pace import Pace
from gristmill.pipelines.view.state import RunView, fold
from gristmill.pipelines.view.summary import summary

spans = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 12)).map(lambda each: (each[0], each[0] + each[1])),
    min_size=1,
    max_size=30,
)


@given(spans)
def test_time_is_covered_once_however_many_spans_are_open(given_spans: list[tuple[int, int]]) -> None:
    spans = Spans()
    spans.add(given_spans)
    assert spans.covered() == len({second for start, end in given_spans for second in range(start, end)})


@given(spans, st.integers(1, 6), st.integers(0, 60))
@example([(0, 1), (0, 3), (1, 3), (2, 3)], 3, 2)
@example([(0, 1), (0, 1), (1, 2)], 3, 1)
def test_it_is_the_mean_over_time_of_the_slots_at_work(
    given_spans: list[tuple[int, int]], slots: int, until: int
) -> None:
    """Compared with a count per unit of time, since all spans are whole units."""
    held = Spans()
    held.add((float(start), float(end)) for start, end in given_spans)
    found = measure("base", ["answers"], held, slots, until)
    first, last = min(start for start, _ in given_spans), max(end for _, end in given_spans)
    level = [sum(start <= unit < end for start, end in given_spans) for unit in range(last)]
    busy = [min(count, slots) / slots for count in level]
    assert found.busy == pytest.approx(sum(busy[first:]) / (last - first), abs=1e-4)
    begin = next((unit for unit in range(last) if level[unit] >= slots), first)
    end = min(until, last)
    if end <= begin:
        assert found.steady is None
    else:
        assert found.steady == pytest.approx(sum(busy[begin:end]) / (end - begin), abs=1e-4)
        assert found.in_flight == pytest.approx(sum(level[begin:end]) / (end - begin), abs=1e-2)


def test_it_is_told_in_a_line() -> None:
    figures = {"model": "teacher", "slots": 64, "busy": 0.884, "steady": 0.931}
    assert told(figures) == "teacher: 93 % of 64 slots busy in the steady state, 88 % over all"
    assert told(figures | {"steady": None}) == "teacher: 88 % of 64 slots busy"


def test_micro_batches_that_hold_few_requests_bring_more_of_them() -> None:
    pace = Pace(4, 16, {"base": 32})
    for _ in range(3):
        pace.learn(10.0, {"base": 80.0})  # eight requests in flight on average
    assert pace.limit == 4  # the initial micro-batches are not done yet
    pace.learn(10.0, {"base": 80.0})
    assert pace.limit == 6  # 6 x 8 = 1.5 x 32
    for _ in range(12):
        pace.learn(10.0, {"base": 1.0})
    assert pace.limit == 16
    for _ in range(12):
        pace.learn(10.0, {"base": 320.0})
    assert pace.limit == 4


PIPELINE = """
gristmill: 1
name: full
models:
  teacher: {engine: synthetic, latency: 0.02, max_num_seqs: 32}
steps:
  prompts: {source: jsonl, path: prompts.jsonl}
  one:   {generate: respond, from: prompts, model: teacher, max_tokens: 6}
  slow:  {map: "waiting:wait", from: one}
  two:   {generate: template, from: slow, model: teacher, samples: 2, template: "Judge {{ response }}"}
  last:  {score: length, from: two}
"""


def test_a_run_tells_how_full_its_engine_was_and_fills_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"prompt": f"Say {n} words about mills and rivers."}) for n in range(480)]
    Path("prompts.jsonl").write_text("\n".join(rows) + "\n")
    Path("waiting.py").write_text(
        "import time\n\n\ndef wait(row: dict) -> dict:\n    time.sleep(0.002)\n    return {}\n"
    )
    Path("full.yaml").write_text(PIPELINE)
    events: list[Event] = []

    class Log:
        def on(self, event: Event) -> None:
            events.append(event)

    run = gristmill.run("full.yaml", "run", observer=Log())
    seconds = {name: run[name].store.manifest["seconds"] for name in ("slow", "last")}
    assert seconds["last"] < seconds["slow"], "each step of a chain has its own time"
    assert "engines" not in run["one"].store.manifest
    (figures,) = run["two"].store.manifest["engines"]
    assert figures["requests"] == 480 * 3
    assert (figures["model"], figures["steps"], figures["slots"]) == ("teacher", ["one", "two"], 32)
    assert 0 < figures["busy"] <= 1
    assert figures["steady_seconds"] < figures["seconds"]
    (done,) = [event for event in events if isinstance(event, StepDone) and event.engines]
    assert (done.step, done.engines) == ("two", [figures])

    view = RunView()
    for event in events:
        view = fold(view, event)
    page = io.StringIO()
    Console(file=page, width=200).print(summary(view, (0, 0)))
    assert told(figures) in page.getvalue()
    assert "How full the engines were" in run.report().read_text()
