"""Following a run from outside: its job, input, and open descriptors, and which processes can end which."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator

import pytest

from gristmill.datagen.sandbox.following import SHORT, sealed_file
from gristmill.datagen.sandbox.jobs import Command, Job, RunScript, RunTests
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.datagen.sandbox.results import Status
from gristmill.datagen.sandbox.supervisor import Cause, RunFate

LIMITS = Limits(wall_seconds=300, cpu_seconds=5, memory_mib=512)


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(LIMITS, workers=1) as sandbox:
        yield sandbox


@pytest.mark.parametrize("shared", [False, True])
def test_a_job_that_is_longer_than_a_socket_holds_arrives(shared: bool) -> None:
    program = f"x = '{'a' * (4 << 20)}'\ndef f(): return len(x)"
    tests = f"y = '{'b' * (4 << 20)}'\nassert f() == len(y)"
    with Sandbox(LIMITS, workers=1, shared_process=shared) as box:
        assert box.run_now(RunTests(program, tests)).passed
        assert box.run_now(RunScript(f"print(len('{'a' * (8 << 20)}'))")).stdout == f"{8 << 20}\n"


def test_what_is_written_to_the_end_is_read(box: Sandbox) -> None:
    """This also holds while the report is larger than a pipe."""
    program = "import sys\nprint('o' * 200_000)\nsys.stderr.write('e' * 200_000)\ndef f(n): return n"
    tests = "\n".join(f"def test_{'x' * 200}_{n}(): assert f({n}) == {n}" for n in range(900))
    result = box.run_now(RunTests(program, tests))
    assert (result.passed, len(result.tests)) == (True, 900)
    assert result.stdout == "o" * 200_000 + "\n"
    assert result.stderr == "e" * 200_000


READ = (
    "import sys\ntext = sys.stdin.read()\nagain = open('/dev/stdin').read()\nprint(len(text), text == "
    "again, text[:2])\n"
)


@pytest.mark.parametrize("length", [0, 5, 3 << 20])
def test_input_is_read_whole_and_again(box: Sandbox, length: int) -> None:
    text = "é" * length
    expected = f"{length} True {text[:2]}\n"
    assert box.run_now(RunScript(READ, stdin=text)).stdout == expected
    assert box.run_now(RunTests(READ + "def f(): return 1", "assert f() == 1", stdin=text)).stdout == expected


@pytest.mark.parametrize(
    "change",
    [
        "os.write(0, b'x')",
        "open('/proc/self/fd/0', 'r+b', 0).write(b'x')",
        "os.truncate('/proc/self/fd/0', 10)",
        "os.ftruncate(0, 1 << 30)",
        "fcntl.fcntl(0, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL)",
    ],
)
def test_input_cannot_be_changed_or_grow(box: Sandbox, change: str) -> None:
    """The input is in memory that no limit of the run counts."""
    result = box.run_now(RunScript(f"import fcntl, os\n{change}", stdin="text"))
    assert result.status is Status.FAILED
    assert result.message.startswith(("OSError", "PermissionError")), result.message


def test_not_even_its_owner_changes_it() -> None:
    """A run that root did not start has the user id of its creator, who owns the file."""
    with contextlib.ExitStack() as closing:
        path = f"/proc/self/fd/{sealed_file(b'text', closing)}"
        os.chmod(path, 0o600)
        with open(path, "r+b", 0) as file:
            for change in (lambda: file.write(b"TEXT"), lambda: file.truncate(99), lambda: file.truncate(1)):
                with pytest.raises(PermissionError):
                    change()
            assert file.read() == b"text"


def test_the_tests_do_not_read_the_programs_input(box: Sandbox) -> None:
    tests = "import sys\nassert sys.stdin.read() == ''\nassert f() == 'in'"
    assert box.run_now(RunTests("def f(): return input()", tests, stdin="in\n")).passed


OPEN = "import os\nfound = [int(name) for name in os.listdir('/proc/self/fd')]\n"


def test_a_program_holds_nothing_of_the_sandbox_but_what_it_answers_by(box: Sandbox) -> None:
    """Besides the standard streams it has one descriptor, for answers or the report.

    The last descriptor belongs to the listing itself.
    """
    assert box.run_now(RunScript(OPEN + "print(found)")).stdout == "[0, 1, 2, 3, 4]\n"
    seen = RunTests(OPEN + "def f(): return found", "assert f() == [0, 1, 2, 3, 4]")
    assert box.run_now(seen).passed, box.run_now(seen).message
    assert box.run_now(Command(("sh", "-c", "ls /proc/self/fd"))).stdout.split() == ["0", "1", "2", "3"]


NUMBER = "import os\nassert os.getpid() != 1\n"


def test_no_program_is_process_1_whose_signals_behave_otherwise(box: Sandbox) -> None:
    ended = "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nprint('still here')"
    for job in (
        RunScript(NUMBER + ended),
        RunTests(NUMBER + ended, "assert True"),
        Command(("sh", "-c", "kill -TERM $$")),
    ):
        result = box.run_now(job)
        assert (result.status, result.message) == (Status.KILLED, "ended by SIGTERM")


ENDING = """
import os, signal
def end():
    for pid in {1, os.getppid(), os.getpgid(os.getppid())} - {0}:
        for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV):
            try:
                os.kill(pid, number)
            except OSError:
                pass
end()
def f(x):
    end()
    return x
"""


def test_a_program_cannot_end_its_judge(box: Sandbox) -> None:
    [zygote] = box._zygotes
    assert box.run_now(RunTests(ENDING, "assert f(1) == 1\nassert f(2) == 2")).passed
    assert box.run_now(RunTests(ENDING, "assert f(1) == 1\nassert f(2) == 3")).status is Status.FAILED
    assert box._zygotes == [zygote], "no run was lost"


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (RunTests("def f(): return 1", "import os\nassert f() == 1\nos._exit(0)"), "exited with code 0"),
        (RunTests("def f(): return 1", "import os\nassert f() == 1\nos._exit(7)"), "exited with code 7"),
        (RunScript("import os\nos._exit(0)"), "exited with code 0"),
        (RunTests("import os\ndef f(): os._exit(5)", "assert f() == 1"), "exited with code 5"),
    ],
)
def test_a_process_that_leaves_early_has_no_verdict(box: Sandbox, job: Job, message: str) -> None:
    result = box.run_now(job)
    assert (result.status, result.message) == (Status.ERROR, f"{message} before the end")


SAYS_THAT_IT_ENDED = """
import os, sys
frame = sys._getframe()
while "token" not in frame.f_locals:
    frame = frame.f_back
os.write(3, ('{"ended": ENDED, "token": "' + frame.f_locals["token"] + '"}').encode())
os._exit(0)
"""


@pytest.mark.parametrize("ended", ["-1", "65536", "1" + "0" * 400, "9.0", "true", "null", '"9"', "[9]"])
def test_a_status_that_is_none_is_no_report(box: Sandbox, ended: str) -> None:
    """Tests are untrusted too, so a status that they invent must not count."""
    result = box.run_now(RunTests("x = 1", SAYS_THAT_IT_ENDED.replace("ENDED", ended)))
    assert (result.status, result.message) == (Status.ERROR, "exited with code 0 before the end")


def test_whoever_says_that_the_program_ended_has_not_passed(box: Sandbox) -> None:
    """A control: reports of this form are read, so the reports above are rejected for their status."""
    says_so = SAYS_THAT_IT_ENDED.replace("ENDED", "11")
    assert box.run_now(RunTests("x = 1", says_so)).message == "ended by SIGSEGV"


@pytest.mark.parametrize("kind", ["script", "tests"])
def test_processor_time_of_all_processes_together_counts(box: Sandbox, kind: str) -> None:
    """Each process alone stays within the limit that the kernel enforces."""
    spin = (
        "import os, time\nfor _ in range(4):\n    if os.fork() == 0:\n"
        "        while time.process_time() < 0.7: pass\n        os._exit(0)\n"
        "for _ in range(4): os.wait()\n"
    )
    job = RunScript(spin) if kind == "script" else RunTests(spin + "def f(): return 1", "assert f() == 1")
    result = box.run_now(job, Limits(wall_seconds=300, cpu_seconds=1))
    assert (result.status, result.message) == (Status.TIMEOUT, "used more than 1 s of processor time")


def test_a_fate_is_told_in_a_few_bytes() -> None:
    fate = RunFate(Cause.CPU_TIME, 137, 1.5, 0.25)
    assert RunFate.decoded(fate.encoded()) == fate
    lost = RunFate(Cause.LOST, why="x\ud800" * 9999).encoded()
    assert len(lost) < SHORT
    assert RunFate.decoded(lost).why.startswith("x\\ud800x")
    for told in (b"", b"\x09" + fate.encoded()[1:]):
        with pytest.raises((ValueError, struct.error)):
            RunFate.decoded(told)
