"""The commands that messages give: they name what `--set` changed, so that they mean the same run."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

import gristmill
from gristmill.pipelines.cli.main import main
from gristmill.pipelines.run.budget import Interrupted, Stop
from gristmill.pipelines.run.events import Event, Notice, StepDone

PIPELINE = """\
gristmill: 1
name: small
vars: {rows: 3}
steps:
  slots: {source: count, rows: "${rows}"}
  drawn: {draw: {color: [red, green]}, from: slots}
  chosen: {select: random, rows: 2, from: drawn}
"""
OVERRIDES = ["vars.rows=5", "steps.drawn.draw.color=[light blue, green]"]


class StopAfter:
    """Asks to stop when a step is done, and keeps the notices."""

    def __init__(self, step: str | None) -> None:
        self.step, self.stop, self.told = step, Stop(), list[str]()

    def on(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.told.append(event.text)
        if isinstance(event, StepDone) and event.step == self.step:
            self.stop.ask()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(PIPELINE)


def test_the_command_that_resumes_a_stopped_run_finishes_it(capsys: pytest.CaptureFixture[str]) -> None:
    view = StopAfter("slots")
    with pytest.raises(Interrupted) as stopped:
        gristmill.run("small.yaml", "its run", overrides=OVERRIDES, observer=view, stop=view.stop)
    said, command = str(stopped.value).split("To resume: ")
    assert said == "stopped; committed results are kept. "
    program, *arguments = shlex.split(command)
    assert program == "gristmill"
    assert main([*arguments, "--no-report"]) == 0
    assert "run again" not in capsys.readouterr().out
    assert gristmill.open_run("its run")["slots"].store.ledger().kept == 5


def test_a_changed_file_is_explained_by_a_plan_of_the_same_values() -> None:
    gristmill.run("small.yaml", "run", observer=StopAfter(None))
    view = StopAfter(None)
    gristmill.run("small.yaml", "run", overrides=OVERRIDES[:1], observer=view)
    [told] = [text for text in view.told if "the file changed" in text]
    assert told.endswith("(why: gristmill plan small.yaml --set vars.rows=5 --against run)")
