"""Training in several processes of this machine: one is killed, all are stopped, and none is left over."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
import torch

from gristmill.contracts.inference import ModelWeights
from gristmill.pipelines.run.budget import Interrupted
from gristmill.pipelines.run.training.job import TrainingJob
from gristmill.pipelines.run.training.processes import ProcessLost, train_in_processes
from gristmill.trainer.methods.sft import SupervisedFineTuning

ROWS = [{"_id": f"row-{n}", "prompt": f"say {n}", "response": "abcdef"[: 2 + n % 5]} for n in range(14)]


def step(**changes: Any) -> SupervisedFineTuning:
    settings: dict[str, Any] = {
        "model": "base",
        "batch_rows": 2,
        "pack_tokens": 1,
        "max_length": 64,
        "dtype": "fp32",
        "quantize": "none",
        "learning_rate": 1e-2,
        "checkpoint_every": 2,
        "epochs": 6,
        "device": "cpu",
        "adapter": {"rank": 2, "alpha": 4, "dropout": 0.3},
    }
    return SupervisedFineTuning.model_validate({**settings, **changes})


@dataclass
class Bench:
    """A context that kills the second process after ``kill_at`` steps, once, and the second attempt after
    ``stop_at``.
    """

    workdir: Path
    model: Path
    kill_at: int = 1000
    stop_at: int = 1000
    seed: int = 17
    step: str = "student"
    killed: bool = False
    seen: list[int] = field(default_factory=list)

    def weights(self, name: str) -> ModelWeights:
        return ModelWeights(name, self.model, "digest")

    def table(self, name: str) -> pa.Table:
        raise KeyError(name)

    def progress(self, done: float, total: float, unit: str, **figures: float) -> None:
        if unit == "steps":
            self.seen.append(int(done))

    def check(self) -> None:
        done = self.seen[-1] if self.seen else 0
        if done >= self.kill_at and not self.killed:
            for process in started():
                if process.environ()["RANK"] == "1":
                    self.killed = True
                    process.send_signal(signal.SIGKILL)
        if done >= self.stop_at and self.seen.count(0) == 2:
            raise Interrupted("stopped on request")


def started() -> Iterator[psutil.Process]:
    for process in psutil.Process().children(recursive=True):
        if "gristmill.pipelines.run.training.process" in process.cmdline():
            yield process


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread in each process: the bits depend on the number of threads."""
    threads = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_training_goes_on_after_a_process_was_killed_and_after_a_stop(make_model, tmp_path: Path) -> None:
    """The second of two processes is killed, the run is stopped, and both go on: as if by one.

    With two packs per step, which are summed in either order, the bits are the same.
    """
    model, table, told = make_model(), pa.Table.from_pylist(ROWS), list[str]()
    bench = Bench(tmp_path / "two", model, kill_at=3, stop_at=8)
    operator = step(processes=2, max_restarts=1)
    job = TrainingJob.of(operator, table, bench)  # type: ignore[arg-type]
    bench.workdir.mkdir()
    with pytest.raises(Interrupted):
        train_in_processes(job, 2, bench, told.append)  # type: ignore[arg-type]
    assert told == [
        "rank 1 of 2 training processes ended with signal SIGKILL; all start again from the last checkpoint"
    ]
    again = bench.seen.index(0, 1)  # each attempt begins with the forecast
    first, second = bench.seen[1:again], bench.seen[again + 1 :]
    assert first == list(range(1, len(first) + 1))
    assert second == list(range(second[0], second[0] + len(second)))
    assert 3 <= second[0] <= len(first) + 1
    assert not list(started())
    assert (bench.workdir / "checkpoint.pt").exists()

    again_bench = Bench(bench.workdir, model)
    resumed = train_in_processes(job, 2, again_bench, pytest.fail)  # type: ignore[arg-type]
    assert again_bench.seen[0] == 0
    assert again_bench.seen[1:] == list(range(again_bench.seen[1], 43))
    alone = operator.fit(table, Bench(tmp_path / "one", model))  # type: ignore[arg-type]
    assert resumed.history.drop(["seconds"]).equals(alone.history.drop(["seconds"]))


def test_a_process_that_is_lost_too_often_is_one_error_and_none_is_left(make_model, tmp_path: Path) -> None:
    bench = Bench(tmp_path, make_model(), kill_at=0)
    job = TrainingJob.of(step(max_restarts=0), pa.Table.from_pylist(ROWS), bench)  # type: ignore[arg-type]
    with pytest.raises(ProcessLost, match=r"^rank 1 of 3 training processes ended with signal SIGKILL$"):
        train_in_processes(job, 3, bench, pytest.fail)  # type: ignore[arg-type]
    assert not list(started())


def test_a_process_ends_when_the_one_that_started_it_does(make_model, tmp_path: Path) -> None:
    from gristmill.pipelines.run.training.job import packed
    from gristmill.pipelines.run.training.processes import ProcessGroup

    job = TrainingJob.of(step(), pa.Table.from_pylist(ROWS), Bench(tmp_path, make_model()))  # type: ignore[arg-type]
    (tmp_path / "job").write_bytes(packed(job))
    if (child := os.fork()) == 0:
        ProcessGroup(tmp_path / "job", 2)._start(0, tmp_path / "meeting")  # it waits for the second process
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    ours = str(tmp_path / "job")
    _, alive = psutil.wait_procs([each for each in psutil.process_iter() if _runs(each, ours)], timeout=120)
    assert not alive


def _runs(process: psutil.Process, job: str) -> bool:
    try:
        return job in process.cmdline()
    except psutil.Error:
        return False


def test_how_many_processes_does_not_change_what_is_made() -> None:
    from gristmill.pipelines.plan.fingerprint import parameters

    assert parameters(step(processes=4, max_restarts=0, shard=True)) == parameters(step())
    assert step().processes_on(8) == 1  # device: cpu
    assert step(device="auto").processes_on(8) == 8
    assert step(device="auto").processes_on(0) == 1
    assert step(processes=3).processes_on(0) == 3
