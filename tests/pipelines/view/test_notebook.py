"""The view of a run in a notebook: what it draws, when, and in a real kernel."""

from __future__ import annotations

import html
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gristmill.pipelines.run.events import Event, Notice, RunStarted, StepProgress, StepStarted
from gristmill.pipelines.view import notebook
from gristmill.pipelines.view.choose import choose
from gristmill.pipelines.view.notebook import Drawing, NotebookView, draw
from gristmill.pipelines.view.plain import PlainView
from gristmill.pipelines.view.state import RunView, fold


def cells(drawn: str) -> dict[str, list[str]]:
    """The text of the cells of each step's row."""
    rows = re.findall(r'<tr data-step="([^"]*)">(.*?)</tr>', drawn)
    return {
        name: [
            html.unescape(re.sub(r"<[^>]*>", "", cell)) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)
        ]
        for name, row in rows
    }


def after(events: list[Event]) -> RunView:
    view = RunView()
    for event in events:
        view = fold(view, event)
    return view


def test_the_drawing_shows_counts_bars_the_budget_and_the_end(events: list[Event]) -> None:
    running = draw(after(events[:5]), 1006.0)
    assert "verified [instructions]" in running
    assert cells(running)["answers"][:5] == ["▸ answers generate: respond", "15/20", "13", "1", "1"]
    assert cells(running)["seeds"][6] == "reused"
    assert cells(running)["student"][1:6] == ["", "", "", "", ""]
    assert running.count("background:#d0922a") == 1  # the part of the bar that is filtered
    assert "budget: tokens, 2,200 of 4,000" in running
    assert "Interrupt the kernel to stop cleanly" in running
    ended = draw(after(events), 1100.0)
    assert "verified [instructions]: " in ended
    assert "Interrupt" not in ended


def test_rows_that_come_in_are_drawn_now_and_then_all_else_at_once(
    events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[str, Drawing]] = []
    handle = SimpleNamespace(update=lambda drawing: drawn.append(("update", drawing)))

    def display(drawing: Drawing, display_id: bool) -> Any:
        drawn.append(("display", drawing))
        assert display_id
        return handle

    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    view = NotebookView()
    view.on(Notice(text="before it starts"))
    assert drawn == []
    view.on(events[0])
    for step in range(100):
        view.on(StepProgress(step="student", done=step, total=100, unit="steps"))
    assert [kind for kind, _ in drawn] == ["display"]
    view.on(StepStarted(step="answers", rows_in=20))
    assert [kind for kind, _ in drawn] == ["display", "update"]
    monkeypatch.setattr(notebook, "EVERY", 0.0)
    view.on(StepProgress(step="student", done=100, total=100, unit="steps"))
    assert [kind for kind, _ in drawn] == ["display", "update", "update"]
    assert repr(drawn[-1][1]) == "verified [instructions]: answers"


def test_what_others_wrote_stays_text_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SERVICE_API_KEY", "env-key-12345")
    start = RunStarted(
        run="r",
        name="<b>\x1b[31m",
        round=1,
        rounds=1,
        steps=[('"><script>', "env-key-12345")],
        budget={},
        spent={},
    )
    drawn = draw(after([start]), 1.0)
    assert "<script" not in drawn
    assert "env-key-12345" not in drawn
    assert "&lt;b&gt;\\u001b[31m" in drawn


def test_the_view_is_chosen_in_a_kernel_only(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    assert isinstance(choose(), PlainView)
    for shell, kind in (
        (SimpleNamespace(), PlainView),
        (SimpleNamespace(kernel=1), NotebookView),
        (None, PlainView),
    ):
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda shell=shell: shell))
        assert type(choose()) is kind
    assert type(choose(stream=sys.stderr)) is PlainView


@pytest.fixture(scope="module")
def kernel() -> Iterator[Any]:
    """A kernel as a notebook has it."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3")
    try:
        yield SimpleNamespace(manager=manager, client=client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def execute(kernel: Any, code: str, interrupt_at: str = "") -> list[dict[str, Any]]:
    """Run a cell; what it published until it was done. ``interrupt_at``: when this is drawn."""
    asked = kernel.client.execute(code)
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        message = kernel.client.get_iopub_msg(timeout=600)
        if message["parent_header"].get("msg_id") != asked:
            continue
        content = message["content"]
        if message["msg_type"] == "status" and content["execution_state"] == "idle":
            return found
        found.append({"type": message["msg_type"], **content})
        if interrupt_at and interrupt_at in str(content.get("data", {}).get("text/html")):
            interrupt_at = ""
            kernel.manager.signal_kernel(signal.SIGINT)
    raise AssertionError(found)


PIPELINE = """
import os, time, gristmill
os.chdir({folder!r})
def slow(row):
    with open("called", "a") as log:
        log.write("x")
    time.sleep({seconds})
    return {{"twice": 2 * row["n"]}}
pipeline = gristmill.Pipeline("widget")
pipeline.step("rows", source=[{{"n": n}} for n in range(40)])
pipeline.step("slow", map=slow, from_="rows")
pipeline.step("big", keep="twice > 20", from_="slow")
run = pipeline.run()
print(len(run["big"]))
"""


@pytest.mark.engine
def test_a_kernel_shows_one_output_that_is_updated_in_place(kernel: Any, tmp_path: Path) -> None:
    found = execute(kernel, PIPELINE.format(folder=str(tmp_path), seconds=0.02))
    kinds = [each["type"] for each in found if each["type"] not in ("status", "execute_input")]
    assert kinds.count("display_data") == 1
    assert kinds.count("update_display_data") >= 3
    assert "error" not in kinds, found
    drawn = [each for each in found if each["type"] in ("display_data", "update_display_data")]
    assert len({each["transient"]["display_id"] for each in drawn}) == 1
    last = drawn[-1]["data"]
    assert cells(last["text/html"])["big"][1:4] == ["40", "29", "11"]
    assert last["text/plain"].startswith("widget: done after ")
    said = "".join(each["text"] for each in found if each["type"] == "stream" and each["name"] == "stdout")
    assert said == "29\n"  # no lines beside the drawing


@pytest.mark.engine
def test_an_interrupted_kernel_stops_the_run_cleanly(kernel: Any, tmp_path: Path) -> None:
    found = execute(kernel, PIPELINE.format(folder=str(tmp_path), seconds=1.0), interrupt_at="▸ slow")
    (error,) = [each for each in found if each["type"] == "error"]
    assert error["ename"] == "Interrupted"
    assert "committed results are kept" in error["evalue"]
    last = [each for each in found if each["type"] == "update_display_data"][-1]["data"]
    assert last["text/plain"].startswith("widget: stopped after ")
    called = tmp_path / "called"
    calls = len(called.read_text()) if called.exists() else 0
    assert calls < 40, "it stops between two rows of a micro-batch"
