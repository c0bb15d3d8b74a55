"""What a Ray cluster has room for, and how long a training waits for it."""

from __future__ import annotations

from typing import Any

import pytest
import ray

from gristmill.contracts.errors import GristmillError
from gristmill.pipelines.run.budget import Interrupted
from gristmill.pipelines.run.training import room
from gristmill.pipelines.run.training.on_ray import _had_no_room
from gristmill.pipelines.run.training.room import Room, Waiting
from gristmill.trainer.methods.sft import SupervisedFineTuning


def step(**changes: Any) -> SupervisedFineTuning:
    return SupervisedFineTuning.model_validate({"model": "base", **changes})


def test_processes_without_gpus_share_the_cores_that_are_left() -> None:
    """As many as were asked for, also where the cores of one node are gone."""
    assert Room.of(step(processes=2), {"CPU": 4.0}) == Room(2, False, {"CPU": 1.0})
    assert Room.of(step(processes=4), {"CPU": 2.0}) == Room(4, False, {"CPU": 0.5})
    assert Room.of(step(), {"CPU": 2.0}).size == 1
    assert Room.of(step(processes=3, device="cpu"), {"CPU": 9.0, "GPU": 8.0}) == Room(3, False, {"CPU": 1.0})


def test_processes_with_gpus_are_at_most_as_many_as_the_gpus_that_are_left() -> None:
    assert Room.of(step(), {"CPU": 8.0, "GPU": 4.0}) == Room(4, True, {"GPU": 1.0})
    assert Room.of(step(processes=4), {"GPU": 2.0}) == Room(2, True, {"GPU": 1.0})
    assert Room.of(step(processes=2), {"GPU": 8.0}) == Room(2, True, {"GPU": 1.0})
    assert Room.of(step(), {"GPU": 4.0}).words == "4 training processes with 1 GPU each"


class Clock:
    """A context that stops the run after so many looks."""

    def __init__(self, stop_at: int = 1000) -> None:
        self.looks, self.stop_at = 0, stop_at

    def check(self) -> None:
        self.looks += 1
        if self.looks > self.stop_at:
            raise Interrupted("stopped on request")


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """What the cluster has at each look; the last one stays."""
    views: list[dict[str, float]] = []
    monkeypatch.setattr(ray, "cluster_resources", lambda: views.pop(0) if len(views) > 1 else views[0])
    monkeypatch.setattr(room, "LOOK_SECONDS", 0.0)
    return views


def test_a_training_on_gpus_waits_for_one_and_does_not_go_on_without(left: list[dict[str, float]]) -> None:
    told: list[str] = []
    waiting = Waiting(Clock(), told.append)  # type: ignore[arg-type]
    left[:] = [{"CPU": 8.0}]
    assert not waiting.for_gpus(step(), None).gpus, "a cluster that never had one"
    assert not told
    left[:] = [{"CPU": 8.0}, {"CPU": 8.0}, {"CPU": 8.0, "GPU": 2.0}]
    assert waiting.for_gpus(step(), Room(4, True, {"GPU": 1.0})) == Room(2, True, {"GPU": 1.0})
    assert told == [
        "the cluster has no room for training processes with a GPU each; waiting up to 30 minutes"
    ]


def test_waiting_ends(left: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch) -> None:
    left[:] = [{"CPU": 8.0}]
    before = Room(1, True, {"GPU": 1.0})
    with pytest.raises(Interrupted):
        Waiting(Clock(stop_at=3), lambda told: None).for_gpus(step(), before)  # type: ignore[arg-type]
    monkeypatch.setattr(room, "WAIT_SECONDS", -1.0)
    with pytest.raises(
        GristmillError, match=r"had no room for training processes with a GPU each in .* add a"
    ):
        Waiting(Clock(), lambda told: None).for_gpus(step(), before)  # type: ignore[arg-type]


def test_processes_that_were_not_placed_are_no_loss() -> None:
    from ray.train import ControllerError, WorkerGroupError
    from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError

    assert _had_no_room(ControllerError(WorkerGroupStartupTimeoutError(2)))
    assert not _had_no_room(ControllerError(ValueError("a mistake")))
    assert not _had_no_room(WorkerGroupError("lost", {0: ValueError("killed")}))
