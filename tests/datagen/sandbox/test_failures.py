"""Failures of the sandbox: a lost run is repeated once, and if it is lost again there is no verdict."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psutil
import pytest

from gristmill.contracts.errors import SandboxDied, SandboxError
from gristmill.datagen.sandbox import isolation, launching, pool
from gristmill.datagen.sandbox.failures import DidNotStart, NotIsolated
from gristmill.datagen.sandbox.jobs import RunScript, RunTests
from gristmill.datagen.sandbox.launching import Zygote
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.datagen.sandbox.results import JobResult, Status

LIMITS = Limits(wall_seconds=300, cpu_seconds=2, memory_mib=256)
#: The processes from the outermost to the innermost; each started the next. The subject runs the program.
LAUNCHER, ZYGOTE, JUDGE, SUBJECT = range(4)
#: Correct tests that run long enough to be killed.
SLOW = RunTests("import time\ntime.sleep(0.8)\ndef f(x): return x + 1", "assert f(1) == 2")


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(LIMITS, workers=1) as sandbox:
        assert sandbox.isolation is not None
        assert sandbox.isolation.way == "namespaces"
        yield sandbox


def line(box: Sandbox) -> list[psutil.Process]:
    """The processes of a sandbox with one zygote: launcher, zygote, and the judge and program of a run."""
    found: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess, IndexError):
        found.append(psutil.Process(box._zygotes[0].pid))
        while children := found[-1].children():
            found.append(children[0])
    return found


def kill(box: Sandbox, level: int, *, but: int = 0) -> int:
    """Kill the process at that level, other than ``but``, during a run. Returns its id."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = line(box)
        if len(found) > max(level, JUDGE) and found[level].pid != but:
            time.sleep(0.1)
            with contextlib.suppress(ProcessLookupError):
                os.kill(found[level].pid, signal.SIGKILL)
                return found[level].pid
        time.sleep(0.01)
    raise TimeoutError(f"no process at level {level}")


@pytest.mark.parametrize("level", [LAUNCHER, ZYGOTE, JUDGE, SUBJECT])
def test_whichever_process_is_killed_the_verdict_is_the_right_one(box: Sandbox, level: int) -> None:
    run = box._submit(SLOW, None)
    killed = kill(box, level)
    assert run.result() == JobResult(
        Status.PASSED,
        tests=run.result().tests,
        seconds=run.result().seconds,
        cpu_seconds=run.result().cpu_seconds,
    )
    assert len(run.result().tests) == 1
    assert not psutil.pid_exists(killed)
    assert box.run_now(RunTests("x = 1", "assert x == 2")).status is Status.FAILED


@pytest.mark.parametrize("level", [LAUNCHER, ZYGOTE, JUDGE])
def test_killed_again_there_is_no_verdict(box: Sandbox, level: int) -> None:
    run = box._submit(SLOW, None)
    kill(box, level, but=kill(box, level))
    with pytest.raises(SandboxDied, match="failed twice, and what it ran was not judged") as raised:
        run.result()
    assert raised.value.retryable
    assert box.run_now(SLOW).passed, "the next run has a worker again"


def test_killed_again_there_is_no_verdict_on_a_script(box: Sandbox) -> None:
    """The first process of a script's run only waits for the script."""
    run = box._submit(RunScript("import time\ntime.sleep(0.8)"), None)
    kill(box, JUDGE, but=kill(box, JUDGE))
    with pytest.raises(SandboxDied, match="first process was killed"):
        run.result()


def test_a_program_that_is_killed_after_its_zygote_was_is_not_judged_either(box: Sandbox) -> None:
    run = box._submit(SLOW, None)
    kill(box, ZYGOTE)
    kill(box, SUBJECT)
    with pytest.raises(SandboxDied, match="ended by SIGKILL"):
        run.result()


def test_awaited_it_is_raised_too(box: Sandbox) -> None:
    import asyncio

    async def main() -> JobResult:
        run = asyncio.create_task(box.run(SLOW))
        await asyncio.to_thread(lambda: kill(box, LAUNCHER, but=kill(box, LAUNCHER)))
        return await run

    with pytest.raises(SandboxDied):
        asyncio.run(main())


OWN_DOING = {
    "itself": "import os; os.kill(os.getpid(), 9)",
    "a child does it": "import os, time\nif os.fork() == 0:\n    os.kill(os.getppid(), 9)\ntime.sleep(5)",
    "by a timer": (
        "import ctypes, time\n"
        "class Event(ctypes.Structure):\n"
        "    _fields_ = [('value', ctypes.c_void_p), ('number', ctypes.c_int), ('notify', ctypes.c_int),\n"
        "                ('rest', ctypes.c_char * 48)]\n"
        "libc, timer = ctypes.CDLL(None), ctypes.c_void_p()\n"
        "assert libc.timer_create(1, ctypes.byref(Event(0, 9, 0)), ctypes.byref(timer)) == 0\n"
        "assert libc.timer_settime(timer, 0, (ctypes.c_long * 4)(0, 0, 0, 10**7), None) == 0\n"
        "time.sleep(5)"
    ),
}


@pytest.mark.parametrize("name", OWN_DOING)
def test_a_program_that_kills_itself_is_judged(box: Sandbox, name: str) -> None:
    """It does so again in the second run. No process of the sandbox is restarted for it."""
    [zygote] = box._zygotes
    result = box.run_now(RunScript(OWN_DOING[name]))
    assert (result.status, result.message) == (Status.KILLED, "ended by SIGKILL")
    assert box._zygotes == [zygote]


OUT_OF_REACH = """
import os
for pid in {1, os.getppid(), -1}:
    for number in (9, 15, 19, 2):
        try:
            if pid != -1 or number == 9:
                os.kill(pid, number)
        except OSError:
            pass
print("still here")
"""


def test_a_program_cannot_end_what_supervises_it(box: Sandbox) -> None:
    [zygote] = box._zygotes
    assert box.run_now(RunScript(OUT_OF_REACH)).stdout == "still here\n"
    assert box._zygotes == [zygote]


def test_memory_that_it_exhausts_is_its_own_doing(box: Sandbox) -> None:
    """This holds whichever process the kernel kills when the group is full."""
    program = "import os\nos.fork(); os.fork()\nheld = []\nwhile True:\n    held.append(bytearray(4 << 20))"
    for _ in range(2):
        result = box.run_now(RunScript(program), Limits(memory_mib=100, scratch_mib=1))
        assert result.status is Status.MEMORY, result
    assert box.run_now(RunScript("print('well')")).stdout == "well\n"


def test_a_run_that_could_not_be_started_is_not_judged(box: Sandbox) -> None:
    with pytest.raises(SandboxDied, match=r"the run's first process: PermissionError: .* setrlimit"):
        box.run_now(RunScript("pass"), Limits(open_files=500_000_000))
    assert box.run_now(RunScript("pass")).passed


def impatient(monkeypatch: pytest.MonkeyPatch, first: float, second: float) -> None:
    monkeypatch.setattr(isolation, "START", first)
    monkeypatch.setattr(isolation, "PATIENT_START", second)


def test_a_slow_start_is_given_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch, 0.001, 300)
    with Sandbox(LIMITS, workers=1, unsafe=True) as box:
        assert box.isolation is not None
        assert box.isolation.isolated
        assert box.run_now(RunScript("pass")).passed


@pytest.mark.parametrize("unsafe", [False, True])
def test_a_start_that_stays_slow_is_an_error_of_its_own(
    monkeypatch: pytest.MonkeyPatch, unsafe: bool
) -> None:
    impatient(monkeypatch, 0.001, 0.002)
    with (
        pytest.raises(
            SandboxError,
            match=r"not ready within 0.002 s.*does not mean that isolation is missing.*workers: 1",
        ),
        Sandbox(LIMITS, unsafe=unsafe),
    ):
        pass
    with pytest.raises(DidNotStart):
        isolation.examine()


def test_a_start_that_is_killed_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    popen = isolation.Zygote._first_words

    def killed(zygote: Any, patience: float) -> dict[str, Any]:
        started.append(zygote.pid)
        if len(started) == 1:
            os.kill(zygote.pid, signal.SIGKILL)
        return popen(zygote, patience)

    monkeypatch.setattr(isolation.Zygote, "_first_words", killed)
    with Sandbox(LIMITS, workers=1, unsafe=True) as box:
        assert len(started) == 2
        assert box.isolation is not None
        assert box.isolation.isolated


class InVain(Zygote):
    """A machine whose namespaces are used up. Without isolation, a zygote would start."""

    def __init__(self, way: launching.Way, *rest: object, **more: object) -> None:
        if way != "unsafe":
            raise NotIsolated("OSError: [Errno 28] unshare: No space left on device")
        super().__init__(way, *rest, **more)  # type: ignore[arg-type]


class TooSlow(Zygote):
    """A machine that is too busy for a zygote to start in time."""

    def __init__(self, way: launching.Way, *rest: object, **more: object) -> None:
        if way != "unsafe":
            raise DidNotStart("it was not ready within 120 s")
        super().__init__(way, *rest, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("start", [InVain, TooSlow])
def test_a_later_worker_never_does_without_the_isolation_of_the_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, python: None, start: type[Zygote]
) -> None:
    """Code that root ran without isolation could change the mode of any file."""
    file = tmp_path / "file"
    file.touch(0o644)
    tmp_path.chmod(0o755)
    change = RunScript(f"import os, time; time.sleep(0.5); os.chmod({str(file)!r}, 0o777)")
    with Sandbox(LIMITS, workers=3, unsafe=True) as box:
        monkeypatch.setattr(isolation, "Zygote", start)
        runs: list[Future[JobResult]] = [box._submit(change, None) for _ in range(4)]
        assert [run.result().status for run in runs] == [Status.FAILED] * 4, "by the worker that there is"
        assert [zygote.isolation.way for zygote in box._zygotes] == ["namespaces"]
        os.kill(box._zygotes[0].pid, signal.SIGKILL)
        with pytest.raises(SandboxDied, match="no zygote could be started"):
            box.run_now(change)
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
        assert box.isolation is not None
        assert box.isolation.isolated
        assert all(zygote.isolation.isolated for zygote in box._zygotes)
        monkeypatch.undo()
        assert box.run_now(SLOW).passed, "and again where one can be started"


def test_every_worker_of_a_box_is_isolated_in_the_same_way(box: Sandbox) -> None:
    with Sandbox(LIMITS, workers=3, unsafe=True) as three:
        runs = [three._submit(SLOW, None) for _ in range(3)]
        assert all(run.result().passed for run in runs)
        assert {zygote.isolation for zygote in three._zygotes} == {three.isolation}
        assert len(three._zygotes) == 3


def test_each_worker_says_how_it_runs_where_unsafe_is_allowed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", pool.__name__)
    with Sandbox(LIMITS, workers=2, unsafe=True) as box:
        for run in [box._submit(SLOW, None) for _ in range(2)]:
            assert run.result().passed
    assert [record.message for record in caplog.records] == [
        "a sandbox zygote runs code with isolation: namespaces"
    ] * 2


def test_runs_beside_one_that_is_lost_are_not_touched() -> None:
    with Sandbox(LIMITS, workers=2) as box:
        runs = [box._submit(SLOW, None) for _ in range(6)]
        killer = threading.Thread(target=kill, args=(box, ZYGOTE))
        killer.start()
        assert all(run.result().passed for run in runs)
        killer.join()
