"""Threads of a training sleep while they wait if other programs need the processors, and spin otherwise."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from gristmill.trainer import waiting
from gristmill.trainer.waiting import CROWDED, Crowd, Delays, follow, loaded, waiting_by_load

#: Counts how often the second thread of a team goes to sleep over 300 operations with pauses between them.
SLEEPS = """
import json, os, time
from pathlib import Path
import torch
from gristmill.trainer.waiting import Crowd, loaded

torch.set_num_threads(2)
before = set(os.listdir("/proc/self/task"))
x = torch.ones(200_000)
(other,) = set(os.listdir("/proc/self/task")) - before

def slept():
    lines = Path(f"/proc/self/task/{other}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("voluntary"))

def sleeps():
    start = slept()
    for _ in range(300):
        x.mul(1.0)
        end = time.perf_counter() + 5e-5
        while time.perf_counter() < end: pass
    return slept() - start

crowd = Crowd(loaded())
crowd.come()
crowded = sleeps()
crowd.leave()
print(json.dumps([crowded, sleeps(), sorted(set(os.listdir("/proc/self/task")) - before - {other})]))
"""

linux = pytest.mark.skipif(not Path("/proc/self/schedstat").exists() or not loaded(), reason="needs libgomp")


@linux
def test_with_a_crowd_threads_sleep_and_it_leaves_none_behind() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", SLEEPS], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    crowded, alone, left = json.loads(done.stdout)
    assert crowded > 200
    assert (
        alone < crowded / 2
    )  # it spins for milliseconds, but another program may keep the first one waiting
    assert left == []


def test_the_share_is_the_delay_of_all_threads_over_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(**delays: int) -> None:
        for thread, delay in delays.items():
            (tmp_path / thread).mkdir(exist_ok=True)
            (tmp_path / thread / "schedstat").write_text(f"999 {delay} 7\n")

    times = iter([0, 1000, 3000])
    monkeypatch.setattr(waiting.time, "monotonic_ns", lambda: next(times))
    write(a=50, b=100)
    delays = Delays(tmp_path)
    write(a=60, b=290, c=100)  # c has started since
    (tmp_path / "gone").mkdir()  # and one has ended
    assert delays.share() == (10 + 190 + 100) / 1000
    write(a=160)
    assert delays.share() == 100 / 2000


def test_the_crowd_comes_and_goes_with_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LOOK", 0.0)
    told: list[str] = []

    class Told(Crowd):
        def come(self) -> None:
            told.append("come")
            super().come()

        def leave(self) -> None:
            told.append("leave")
            super().leave()

    done, shares = threading.Event(), [0.01, 3 * CROWDED, 2 * CROWDED, 0.01, 0.01, 2 * CROWDED]

    def share() -> float:
        if len(shares) == 1:
            done.set()
        return shares.pop(0)

    follow(Told([]), share, done)
    assert told == ["come", "leave", "come", "leave"]


@linux
def test_the_load_is_followed_during_a_training_unless_the_user_has_chosen(
    make_model, rows, stopping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa

    from gristmill.trainer.methods.sft import SupervisedFineTuning

    def watches() -> int:
        return sum(thread.name == "load" for thread in threading.enumerate())

    seen = []

    class Seeing(stopping):  # type: ignore[misc, valid-type]
        def check(self) -> None:
            seen.append(watches())

    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    step = SupervisedFineTuning.model_validate({"model": "base", "max_length": 128, "max_steps": 1})
    step.fit(pa.Table.from_pylist(rows), Seeing(tmp_path / "w", make_model()))
    assert seen == [1]
    assert watches() == 0
    for name in waiting.CHOSEN:
        with monkeypatch.context() as patch, waiting_by_load():
            assert watches() == 1
            patch.setenv(name, "passive")
            with waiting_by_load():
                assert watches() == 1
