"""Engines forked from a process that has imported their libraries."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from gristmill.contracts.errors import EngineError
from gristmill.contracts.inference import Engine, EngineSettings
from gristmill.pipelines.engines import warm
from gristmill.pipelines.engines.apart import ApartEngine

from .conftest import answers, ask


@pytest.fixture
def engines() -> Iterator[Callable[[], ApartEngine]]:
    started: list[ApartEngine] = []

    def start() -> ApartEngine:
        started.append(ApartEngine(EngineSettings("synthetic", None), warm=True))
        return started[-1]

    yield start
    for engine in started:
        asyncio.run(engine.close())


def process(engine: Engine) -> psutil.Process:
    return psutil.Process(engine._child._process.pid)  # type: ignore[attr-defined]


def parent(engine: Engine) -> psutil.Process:
    found = process(engine).parent()
    assert found is not None
    return found


def died(engine: ApartEngine) -> None:
    deadline = time.monotonic() + 60
    while engine._dead is None and time.monotonic() < deadline:
        time.sleep(0.05)


def ended(*processes: psutil.Process) -> bool:
    return psutil.wait_procs(processes, timeout=30)[1] == []


def test_engines_are_forked_from_one_process_in_the_current_folder(
    engines: Callable[[], ApartEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = engines()
    monkeypatch.chdir(tmp_path)
    other = engines()
    assert parent(one) == parent(other)
    assert parent(one).ppid() == os.getpid()
    assert [Path(process(each).cwd()) == tmp_path for each in (one, other)] == [False, True]
    assert [said.text for said in answers(one, ask("x"))] == [said.text for said in answers(other, ask("x"))]
    warm, forked = parent(one), process(one)
    asyncio.run(one.close())
    assert ended(forked)
    assert warm.is_running()
    assert len(answers(other, ask("y"))) == 1


def test_vllm_is_forked_from_a_process_that_has_imported_it(shared_vllm: Engine) -> None:
    maps = {Path(each.path).name for each in parent(shared_vllm).memory_maps()}
    assert "libtorch_cpu.so" in maps
    assert "vllm/_C" in " ".join(each.path for each in parent(shared_vllm).memory_maps())


def test_another_environment_gets_another_parent_and_the_old_one_ends_with_its_engine(
    engines: Callable[[], ApartEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = engines()
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    other = engines()
    old = parent(one)
    assert old != parent(other)
    assert process(other).environ()["OMP_NUM_THREADS"] == "7"
    assert len(answers(one, ask("x"))) == 1
    asyncio.run(one.close())
    assert ended(old)


@pytest.mark.parametrize(
    ("number", "told"), [(signal.SIGKILL, "signal SIGKILL"), (signal.SIGTERM, "signal SIGTERM")]
)
def test_how_a_forked_engine_ended_is_told(
    engines: Callable[[], ApartEngine], number: signal.Signals, told: str
) -> None:
    engine = engines()
    process(engine).send_signal(number)
    died(engine)
    with pytest.raises(EngineError, match=f"the engine's process died: {told}") as raised:
        answers(engine, ask("x"))
    assert raised.value.retryable


def test_a_parent_that_is_killed_takes_its_engines_along_and_is_replaced(
    engines: Callable[[], ApartEngine],
) -> None:
    one = engines()
    old, forked = parent(one), process(one)
    old.kill()
    assert ended(forked)
    other = engines()
    assert parent(other) != old
    assert len(answers(other, ask("x"))) == 1


def test_a_fork_that_fails_costs_no_engine_that_runs_and_is_made_up_for(
    engines: Callable[[], ApartEngine],
) -> None:
    one = engines()
    warm = parent(one)
    # It can receive no descriptors.
    resource.prlimit(warm.pid, resource.RLIMIT_NOFILE, (warm.num_fds(), warm.num_fds()))
    other = engines()
    assert parent(other).pid == os.getpid(), "in an interpreter of its own"
    assert len(answers(other, ask("x"))) == len(answers(one, ask("x"))) == 1
    warm.kill()


def test_a_folder_without_a_name_and_many_open_files_are_no_hindrance(
    engines: Callable[[], ApartEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        engine = engines()
        assert parent(engine).pid != os.getpid()
        process(engine).kill()
        died(engine)
    finally:
        for each in opened:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with pytest.raises(EngineError, match="signal SIGKILL"):
        answers(engine, ask("x"))


def test_a_parent_that_cannot_import_is_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "_PARENTS", warm._Parents())
    with open(os.devnull, "wb") as output:
        assert warm.fork("missing", 0, output.fileno()) is None
        first = warm._PARENTS.last
        assert warm.fork("missing", 0, output.fileno()) is None
    assert warm._PARENTS.last is first is not None


FORKED = """
import asyncio, os, signal
from gristmill.contracts.inference import EngineSettings
from gristmill.pipelines.engines.apart import ApartEngine
from gristmill.pipelines.engines.warm import _PARENTS
ApartEngine(EngineSettings("synthetic", None), warm=True)
first = _PARENTS.last._process.pid
with _PARENTS.lock:  # as if another thread started an engine just now
    if not (fork := os.fork()):
        signal.alarm(60)
        engine = ApartEngine(EngineSettings("synthetic", None), warm=True)
        asyncio.run(engine.close())
        os._exit(int(_PARENTS.last._process.pid == first))
print(os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]))
"""


def test_a_fork_of_this_process_has_a_warm_parent_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", FORKED], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "0", done.stderr


RUN = """
import sys, time
from gristmill.contracts.inference import EngineSettings
from gristmill.pipelines.engines.apart import ApartEngine
engine = ApartEngine(EngineSettings("synthetic", None), warm=True)
print(engine._child._process.pid, flush=True)
time.sleep(60)
"""


def test_it_ends_with_the_process_that_started_it_whatever_ended_that() -> None:
    with subprocess.Popen([sys.executable, "-P", "-c", RUN], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        engine = psutil.Process(int(run.stdout.readline()))
        warm = engine.parent()
        assert warm is not None
        run.kill()
    assert ended(engine, warm)
