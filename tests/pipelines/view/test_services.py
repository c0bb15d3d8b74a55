"""The services themselves, with their own packages: what they record, read back from their files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gristmill.contracts.inference import Usage
from gristmill.pipelines.run.events import RoundDone, RunEnded, RunStarted, StepProgress
from gristmill.pipelines.view.services import MetricsError, Wandb
from gristmill.pipelines.view.trackers import MetricsObserver, observer


@pytest.fixture
def own_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """W&B without the user's keys and settings, which it reads once in a process."""
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    wandb.teardown()
    yield
    wandb.teardown()


def watch(watching: MetricsObserver, run: Path, status: str = "done") -> None:
    """Give it a training of two steps and the end of its round."""
    started = RunStarted(run=str(run), name="tiny", round=1, rounds=1, steps=[], budget={}, spent={})
    watching.on(started)
    for step, figures in ((7, {"loss": 2.0}), (7, {"held_out_loss": 3.0}), (8, {"loss": 1.5})):
        watching.on(StepProgress(step="student", done=step, total=8, unit="steps", figures=figures))
    watching.on(RoundDone(round=1, decision="promoted", metrics={}))
    watching.on(RunEnded(status=status, message="", seconds=1.0, usage=Usage()))
    assert watching.failure is None


def test_tensorboard_gets_a_curve_for_each_figure_and_a_folder_for_each_session(tmp_path: Path) -> None:
    for number in (1, 2):
        watching = observer("tensorboard")
        assert isinstance(watching, MetricsObserver)
        watch(watching, tmp_path)
        written = EventAccumulator(str(tmp_path / f"tensorboard/session-{number}")).Reload()
        found = {
            tag: [(each.step, each.value) for each in written.Scalars(tag)]
            for tag in written.Tags()["scalars"]
        }
        assert found == {
            "student/loss": [(7, 2.0), (8, 1.5)],
            "student/held_out_loss": [(7, 3.0)],
            "round/promoted": [(1, 1.0)],
        }


@pytest.mark.usefixtures("own_wandb")
def test_wandb_records_offline_and_nothing_but_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    watching = observer("wandb")
    assert isinstance(watching, MetricsObserver)
    assert wandb.setup().settings.console == "off"  # which would record what is printed, as pytest does
    watch(watching, tmp_path)
    wandb.teardown()  # waits until all is written, as the end of a process does
    (written,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    record = written.read_bytes()
    for words in (b"student.loss", b"student.held_out_loss", b"student.step", b"round.promoted", b"tiny"):
        assert words in record
    assert record.count(b"student.step") > 3  # each of the three measurements has its step
    for words in (sys.executable.encode(), b"test_services", b"cpu_count"):
        assert words not in record
    assert not list(tmp_path.glob("wandb/offline-run-*/files/*"))


@pytest.mark.usefixtures("own_wandb")
def test_wandb_asks_for_no_key_in_the_middle_of_a_run() -> None:
    with pytest.raises(MetricsError, match="metrics: wandb has no key: set WANDB_API_KEY, run `wandb login`"):
        Wandb()
