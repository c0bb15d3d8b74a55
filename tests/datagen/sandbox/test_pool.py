"""The behavior of ``Sandbox`` itself: awaiting jobs, concurrent runs, and refusals."""

from __future__ import annotations

import ast
import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gristmill.contracts.errors import SandboxError
from gristmill.datagen.sandbox import launching
from gristmill.datagen.sandbox.jobs import Command, RunScript, RunTests
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.datagen.sandbox.results import Status

LIMITS = Limits(wall_seconds=300, cpu_seconds=2, memory_mib=256)


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(LIMITS, workers=2) as sandbox:
        yield sandbox


def test_runs_are_awaited_and_overlap() -> None:
    async def main() -> list[list[float]]:
        program = "import time\nprint(time.monotonic()); time.sleep(1); print(time.monotonic())"
        async with Sandbox(LIMITS, workers=2) as box:
            await asyncio.gather(box.run(RunScript("pass")), box.run(RunScript("pass")))
            done = await asyncio.gather(box.run(RunScript(program)), box.run(RunScript(program)))
            return [[float(line) for line in result.stdout.split()] for result in done]

    (start, end), (other_start, other_end) = asyncio.run(main())
    assert max(start, other_start) < min(end, other_end)


def test_answers_belong_to_their_questions(box: Sandbox) -> None:
    async def main() -> list[str]:
        runs = (box.run(RunScript(f"print({n})", stdout=str(n))) for n in range(40))
        return [result.stdout.strip() for result in await asyncio.gather(*runs)]

    assert asyncio.run(main()) == [str(n) for n in range(40)]
    assert asyncio.run(main()) == [str(n) for n in range(40)], "from another event loop"


def test_commands_files_and_input(box: Sandbox) -> None:
    job = Command(("sh", "-c", "cat; cat a/b.txt; pwd; exit 3"), stdin="in ", files={"a/b.txt": "file "})
    result = box.run_now(job)
    assert (result.status, result.message, result.stdout) == (Status.FAILED, "exit code 3", "in file /tmp\n")
    assert box.run_now(Command(("true",))).passed
    missing = box.run_now(Command(("no-such-program",)))
    assert (missing.status, missing.message) == (Status.FAILED, "exit code 127")
    assert "No such file" in missing.stderr


def test_each_run_may_bring_limits(box: Sandbox) -> None:
    result = box.run_now(RunScript("import time; time.sleep(60)"), Limits(wall_seconds=0.3))
    assert (result.status, result.message) == (Status.TIMEOUT, "not done in 0.3 s")
    assert 0.3 <= result.seconds < 20


def test_times_are_measured(box: Sandbox) -> None:
    result = box.run_now(
        RunScript("import time\nend = time.process_time() + 0.6\nwhile time.process_time() < end: pass")
    )
    assert 0.6 <= result.cpu_seconds < 1.2
    assert result.seconds >= 0.6


def test_the_time_of_a_program_that_is_judged_counts(box: Sandbox) -> None:
    spin = (
        "import time\ndef f():\n    end = time.process_time() + 0.6\n    while time.process_time() < "
        "end: pass"
    )
    assert 0.6 <= box.run_now(RunTests(spin, "assert f() is None")).cpu_seconds < 1.2


def test_what_cannot_be_sent_is_refused(box: Sandbox) -> None:
    for job, reason in (
        (RunScript("'\ud800'"), "UTF-8"),
        (RunScript("x" * (33 * 2**20)), "bytes"),
        (RunScript("pass", stdin="ä" * 2**20), "its input is longer than the 1 MiB that its /tmp holds"),
    ):
        result = box.run_now(job, Limits(scratch_mib=1))
        assert result.status is Status.REFUSED
        assert reason in result.message


def test_hash_order_is_the_same_in_every_run(box: Sandbox) -> None:
    outputs = {box.run_now(RunScript("print(list({'a', 'b', 'c', 'd'}))")).stdout for _ in range(6)}
    assert len(outputs) == 1


def test_random_numbers_repeat_unless_they_are_not_to(box: Sandbox) -> None:
    program = "import random; print(random.random())"
    assert len({box.run_now(RunScript(program)).stdout for _ in range(3)}) == 1
    assert len({box.run_now(RunScript(program, random_seed=seed)).stdout for seed in range(3)}) == 3
    assert len({box.run_now(RunScript(program, random_seed=None)).stdout for _ in range(3)}) == 3


def test_the_expected_output_is_not_in_the_sandbox(box: Sandbox) -> None:
    peek = (
        "import sys\n"
        "frame = sys._getframe()\n"
        "while frame:\n"
        "    assert 'the-right' + '-answer' not in repr(frame.f_locals), frame\n"
        "    frame = frame.f_back\n"
        "print('looked')"
    )
    result = box.run_now(RunScript(peek, stdout="the-right-answer"))
    assert (result.status, result.stdout) == (Status.FAILED, "looked\n")


SEARCH = """
import re
pattern = re.compile(b"haystack" + b"-([0-9]{16})")
found = set()
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
    for line in maps:
        start, stop = (int(part, 16) for part in line.split()[0].split("-"))
        if line.split()[1].startswith("rw"):
            memory.seek(start)
            found |= set(pattern.findall(memory.read(stop - start)))
print(found)
"""


def test_no_text_of_a_run_is_in_the_process_that_the_next_is_a_copy_of() -> None:
    marked = "x = 'haystack-0123456789012345'\nprint(x)\n"
    with Sandbox(LIMITS, workers=1) as box:
        assert box.run_now(RunScript(marked)).passed
        assert box.run_now(RunTests(marked, "assert x == 1", stdin=marked)).status is Status.FAILED
        assert box.run_now(RunScript(SEARCH)).stdout == "set()\n"
        assert "0123456789012345" in box.run_now(RunScript(marked + SEARCH)).stdout, "the search finds it"


def test_workers_end_with_whoever_started_them() -> None:
    program = (
        "import os, sys, time\n"
        "from gristmill.datagen.sandbox.pool import Sandbox\n"
        "box = Sandbox(workers=1).__enter__()\n"
        "print(box._zygotes[0].pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = __import__("subprocess").run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False
    )
    worker = int(done.stdout)
    deadline = time.monotonic() + 60
    while psutil.pid_exists(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(worker)


def test_closed_and_unopened_sandboxes_say_so() -> None:
    box = Sandbox(LIMITS)
    with pytest.raises(SandboxError, match="not open"):
        box.run_now(RunScript("pass"))


def test_modules_to_preload_must_be_there() -> None:
    with (
        pytest.raises(SandboxError, match=r"preload.*no_such_module_at_all"),
        Sandbox(preload=["no_such_module_at_all"]),
    ):
        pass
    with Sandbox(LIMITS, workers=1, packages=True, preload=["pydantic"]) as box:
        assert box.run_now(RunScript("import sys; print('pydantic' in sys.modules)")).stdout == "True\n"
        assert box.run_now(RunScript("open(__import__('pydantic').__file__, 'a')")).status is Status.FAILED
    with Sandbox(LIMITS, workers=1) as box:
        assert "ModuleNotFoundError" in box.run_now(RunScript("import pydantic")).message


@pytest.mark.parametrize("name", ["wall_seconds", "memory_mib", "processes"])
def test_limits_are_above_zero(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be above zero, found 0"):
        Limits(**{name: 0})


@pytest.mark.parametrize("name", ["wall_seconds", "cpu_seconds", "memory_mib", "output_kib", "open_files"])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e9])
def test_limits_are_bounded(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        Limits(**{name: value})


def test_what_is_loaded_inside_needs_nothing_from_above() -> None:
    folder = Path(launching.__file__).parent
    outside = {"pool.py"}
    here = {*sys.stdlib_module_names, "numpy"}  # where a program has it
    for path in folder.rglob("*.py"):
        depth = len(path.relative_to(folder).parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level <= depth or path.name in outside, path
                assert node.level or (node.module or "").split(".")[0] in here, path
            elif isinstance(node, ast.Import):
                assert all(alias.name.split(".")[0] in here for alias in node.names), path
