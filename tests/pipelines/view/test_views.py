"""The four views: each gets the events of a whole run, and its output is checked."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from gristmill.contracts.inference import Usage
from gristmill.pipelines.run.events import (
    Event,
    Notice,
    RunEnded,
    RunStarted,
    StepDone,
    StepProgress,
    StepStarted,
)
from gristmill.pipelines.store.ledger import Ledger
from gristmill.pipelines.view.choose import choose
from gristmill.pipelines.view.json_lines import JsonView
from gristmill.pipelines.view.live import LiveView, draw, sparkline
from gristmill.pipelines.view.plain import PlainView, done_line, progress_line
from gristmill.pipelines.view.silent import SilentView
from gristmill.pipelines.view.state import RunView, StepView, fold
from gristmill.pipelines.view.summary import summary
from gristmill.pipelines.view.training import trained


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_have_no_control_codes_and_tell_the_whole_run(events: list[Event]) -> None:
    stream = io.StringIO()
    view = PlainView(stream)
    for event in events:
        view.on(event)
    text = stream.getvalue()
    assert "\x1b" not in text
    assert "answers (generate: respond): 20 in, 18 kept, 1 filtered, 1 failed, 1,000 tokens (200/s)" in text
    assert "warning: the engine died" in text
    assert "round 1: promoted" in text
    assert "0.300 -> 0.420, +0.120 [+0.040, +0.200]" in text
    assert "runs/one/exports/answers" in text
    assert "verified [instructions]: done after 48.0 s" in text


def test_a_step_that_leaves_no_row_says_so() -> None:
    nothing = StepView("kept", "keep", status="done", handled=10, filtered=10)
    assert done_line(nothing) == (
        "kept (keep): 10 in, 0 kept, 10 filtered, 0.0 s: no row is left for the steps that follow"
    )
    assert "no row is left" not in done_line(StepView("kept", "keep", status="done", handled=10, kept=1))
    assert "no row is left" not in done_line(StepView("kept", "keep", status="done"))


def test_what_a_training_reached_is_told_when_it_is_done(events: list[Event]) -> None:
    """In the lines, in the live table and in the summary at the end."""
    reached = {"loss_first": 2.31271, "loss_last": 1.80342, "tokens_per_s": 1212.4, "held_out_loss": 1.912}
    done = StepDone(
        at=1020.0, step="student", ledger=Ledger(4, 4, 4), usage=Usage(), seconds=4.0, reused=False,
        summary=reached,
    )  # fmt: skip
    told = "loss 2.3127 to 1.8034, held out 1.9120, 1,212 tokens/s"
    view = fold(RunView(), events[0])
    view = fold(view, done)
    step = view.step("student")
    assert step is not None
    assert done_line(step).endswith(f"4 in, 4 kept, 4.0 s, {told}")
    for drawn, line in ((draw(view, 1021.0), told), (summary(view, (0, 0)), f"student: {told}")):
        console = Console(file=io.StringIO(), width=180, record=True)
        console.print(drawn)
        assert line in console.export_text()
    assert trained({"loss_last": 1.5}) == "loss 1.5000"
    assert trained({"rows": 3, "loss_last": None}) == ""


def test_the_reason_of_a_failure_is_left_to_the_command(events: list[Event]) -> None:
    stream = io.StringIO()
    view = PlainView(stream)
    ended = RunEnded(at=1049.0, seconds=49.0, status="failed", message="no space left", usage=Usage())
    for event in [*events[:-1], ended]:
        view.on(event)
    assert "failed after" in stream.getvalue()
    assert "no space left" not in stream.getvalue()


def test_plain_progress_comes_every_quarter_of_a_minute(events: list[Event]) -> None:
    stream = io.StringIO()
    view = PlainView(stream)
    for event in events[:8]:
        view.on(event)
    for second in range(60):
        figures = {"loss": 2.0 - second / 60}
        view.on(
            StepProgress(
                at=1007.0 + second, step="student", done=second, total=60, unit="steps", figures=figures
            )
        )
    lines = [line for line in stream.getvalue().splitlines() if line.startswith("  student:")]
    assert len(lines) == 4
    assert "loss" in lines[0]
    assert "left" in lines[1]


def test_a_step_that_still_works_after_its_last_row_promises_no_time() -> None:
    step = StepView("exact", "dedup: exact", status="running", rows_in=45, handled=45, started=10.0)
    assert progress_line(step, 30.0) == "  exact: 100%, finishing"
    assert progress_line(replace(step, handled=15), 30.0) == "  exact: 33%, about 40.0 s left"


def test_what_a_step_does_before_its_steps_is_told(events: list[Event]) -> None:
    view = fold(RunView(), events[0])
    view = fold(view, StepStarted(at=1001.0, step="student", rows_in=None))
    loading = StepProgress(at=1002.0, step="student", done=0, total=1, unit="loading the model")
    view = fold(view, loading)
    step = view.step("student")
    assert step is not None
    assert progress_line(step, 1003.0) == "  student: loading the model 0%"
    console = Console(file=io.StringIO(), width=140, record=True)
    console.print(draw(view, 1003.0))
    assert "0% loading the model" in console.export_text()
    assert progress_line(replace(step, unit="steps"), 1003.0) == "  student: 0%"
    lines = PlainView(stream := io.StringIO())
    for event in (events[0], loading, loading, replace(loading, unit="measuring the reference")):
        lines.on(event)
    assert stream.getvalue().splitlines()[1:] == [
        "  student: loading the model", "  student: measuring the reference",
    ]  # fmt: skip


def test_quiet_says_warnings_and_the_end_only(events: list[Event]) -> None:
    stream = io.StringIO()
    view = SilentView(stream)
    for event in events:
        view.on(event)
    warning, end = stream.getvalue().splitlines()
    assert warning.startswith("warning: ")
    assert end == "verified [instructions]: done after 48.0 s"


def test_json_is_one_object_an_event(events: list[Event]) -> None:
    stream = io.StringIO()
    view = JsonView(stream)
    for event in events:
        view.on(event)
    view.on(
        StepProgress(
            at=2000.0, step="student", done=1.0, total=2.0, unit="steps", figures={"loss": float("nan")}
        )
    )
    read = [
        json.loads(line, parse_constant=lambda name: pytest_fail(name))
        for line in stream.getvalue().splitlines()
    ]
    assert [each["event"] for each in read[:3]] == ["RunStarted", "StepDone", "StepStarted"]
    assert read[3]["usage"]["completion_tokens"] == 500
    assert read[-1]["figures"] == {"loss": None}


def pytest_fail(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def test_live_table_shows_counts_bars_and_the_loss(events: list[Event]) -> None:
    view = RunView()
    for event in events[:9]:
        view = fold(view, event)
    console = Console(file=io.StringIO(), width=140, record=True)
    console.print(draw(view, 1016.0))
    text = console.export_text()
    assert "verified [instructions]" in text
    assert "round 1/2" in text
    assert "loss 1.25" in text
    assert "25%" in text
    assert "~30.0 s" in text
    assert "budget: tokens" in text
    assert "2,200 of 4,000" in text
    assert "Ctrl-C" in text


def test_the_held_out_loss_is_a_curve_in_the_live_view(events: list[Event]) -> None:
    view = RunView()
    for event in events[:9]:
        view = fold(view, event)
    for step, loss in enumerate((3.0, 2.0, float("nan"), 1.0)):
        figures = {"held_out_loss": loss}
        view = fold(
            view, StepProgress(at=1017.0, step="student", done=step, total=8, unit="steps", figures=figures)
        )
    console = Console(file=io.StringIO(), width=180, record=True)
    console.print(draw(view, 1018.0))
    assert "loss 1.25  held out █▅?▁ 1" in console.export_text()
    assert sparkline([2.0] * 40) == "▁" * 16
    (running,) = (step for step in view.steps if step.status == "running")
    assert "loss 1.25, held out 1" in progress_line(running, 1018.0)


def test_live_view_runs_in_a_terminal_and_ends_with_the_summary(events: list[Event]) -> None:
    stream = Terminal()
    view = choose(stream=stream)
    assert isinstance(view, LiveView)
    for event in events:
        view.on(event)
    assert "peak memory" in stream.getvalue()
    assert "done after 48.0 s" in stream.getvalue()


def test_the_view_fits_where_the_output_goes() -> None:
    assert isinstance(choose(stream=io.StringIO()), PlainView)
    assert isinstance(choose(quiet=True, stream=Terminal()), SilentView)
    assert isinstance(choose(quiet=True, json=True, stream=Terminal()), JsonView)


def test_a_run_that_never_began_leaves_the_telling_to_the_error() -> None:
    failed = RunEnded(status="failed", message="no such model", seconds=0.1, usage=Usage())
    for quiet in (True, False):
        for stream in (io.StringIO(), Terminal()):
            choose(quiet=quiet, stream=stream).on(failed)
            assert stream.getvalue() == ""


def test_a_narrow_terminal_cuts_names_never_numbers(events: list[Event]) -> None:
    view = RunView()
    for event in events:
        view = fold(view, event)
    console = Console(file=io.StringIO(), width=64, record=True)
    console.print(summary(view, (0, 0)))
    text = console.export_text()
    assert "generate: respond" not in text
    assert "1,000" in text
    assert "40.0 s" in text


def test_no_view_shows_a_secret_or_an_order_to_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "planted-value")
    hostile = "planted-value \x1b[31mOWNED\x1b]52;c;x\x07 [blink]MARK[/blink] \u202e\rOVER"
    ledger = Ledger(1, 1, 1, 0, 0)
    told = [
        RunStarted(
            run=f"runs/{hostile}", name="n", round=1, rounds=1, steps=[("a", "map")], budget={}, spent={}
        ),
        StepDone(
            step="a", ledger=ledger, usage=Usage(), seconds=1, reused=False, summary={"location": hostile}
        ),
        Notice(text=hostile, level="warning"),
        RunEnded(status="failed", message=hostile, seconds=1.0, usage=Usage()),
    ]

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for kind in (PlainView, SilentView, JsonView, LiveView):
        stream = Terminal()
        view = kind(stream)
        for event in told:
            view.on(event)
        written = stream.getvalue()
        assert "planted-value" not in written
        assert "\x1b[31mOWNED" not in written
        assert not set(written) & {"\x07", "\u202e"}
        assert "\x1b]" not in written
        assert "\rOVER" not in written
        assert "[blink]MARK[/blink]" in " ".join(written.split())
        assert "***" in written
