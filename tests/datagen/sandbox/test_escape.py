"""Attacks must fail, must end, and must not affect the next run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from gristmill.datagen.sandbox.denied_calls import DENIED
from gristmill.datagen.sandbox.jobs import RunScript, RunTests
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.datagen.sandbox.results import JobResult, Status
from gristmill.datagen.sandbox.root import DEVICES
from gristmill.datagen.sandbox.syscalls import number_here

from .attacks import FAKES, FILES, NETWORK, PROCESSES, RESOURCES, STATE, TRY

LIMITS = Limits(
    wall_seconds=1.2, cpu_seconds=0.6, memory_mib=192, processes=8, file_mib=2, scratch_mib=4, output_kib=32
)
#: Limits for programs that must finish even on a busy machine.
PATIENT = replace(LIMITS, wall_seconds=20, cpu_seconds=5)
SECRET = "a-secret-that-nobody-may-read"

#: Runs after each attack, in a copy of the same zygote, and checks that nothing has changed.
UNTOUCHED = """
import builtins, json, linecache, math, os, random, signal, sys, threading
assert os.getcwd() == "/tmp" and os.listdir("/tmp") == [], os.listdir("/tmp")
assert "MARK" not in os.environ and set(os.environ) == {
    "LANG", "LC_ALL", "PYTHONHASHSEED", "OMP_NUM_THREADS", "HOME", "TMPDIR", "PATH"}
assert len([1, 2]) == 2 and json.dumps([1]) == "[1]" and math.pi > 3
assert threading.active_count() == 1
assert [int(p) for p in os.listdir("/proc") if p.isdigit()] == [os.getpid()]
assert sys.getrecursionlimit() == 1000 and sys.gettrace() is None and sys.meta_path
assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL
assert os.getpriority(os.PRIO_PROCESS, 0) == @PRIORITY@ and os.umask(0) == 0o077
assert random.random() != 0.5
import fractions, wave
""".replace("@PRIORITY@", str(os.getpriority(os.PRIO_PROCESS, 0)))  # which runs have of this process
UNTOUCHED_TESTS = (
    UNTOUCHED.replace(
        '[int(p) for p in os.listdir("/proc") if p.isdigit()] == [os.getpid()]',
        "len(os.listdir('/proc')) > 1",
    )
    + "assert f(1) == 2"
)


@dataclass(frozen=True)
class Prey:
    """The targets of the attacks on this machine."""

    names: dict[str, str]
    victim: subprocess.Popen[bytes]
    connections: list[str]
    folder: Path
    devices: dict[str, tuple[int, int]]

    def fill(self, program: str) -> str:
        for name, value in self.names.items():
            program = program.replace(f"@{name}@", value)
        return program

    def unharmed(self) -> bool:
        return (
            self.victim.poll() is None
            and self.connections == []
            and list(self.folder.iterdir()) == []
            and devices() == self.devices
        )


@pytest.fixture(scope="module")
def prey() -> Iterator[Prey]:
    # Where its own permissions keep nobody out: what holds the attacks is to be the sandbox.
    root = Path(tempfile.mkdtemp(dir="/var/tmp"))
    root.chmod(0o755)
    home, folder = root / "home", root / "shared"
    home.mkdir(mode=0o755)
    folder.mkdir()
    folder.chmod(0o777)
    for file in (root / "secret", home / ".secret"):
        file.write_text(SECRET)
        file.chmod(0o644)
    old = {name: os.environ.get(name) for name in ("HOME", "API_KEY")}
    os.environ.update(HOME=str(home), API_KEY=SECRET)
    connections: list[str] = []
    servers = [
        socket.create_server(("127.0.0.1", 0)),
        socket.socket(socket.AF_UNIX),
        socket.socket(socket.AF_UNIX),
    ]
    servers[1].bind(str(root / "s"))
    (root / "s").chmod(0o777)
    servers[2].bind(f"\0gristmill-test-{root.name}")
    for server in servers:
        server.listen()
        threading.Thread(target=_note, args=(server, connections), daemon=True).start()
    victim = subprocess.Popen(["sleep", "600"])
    names = {
        "SECRET": SECRET,
        "FILE": str(root / "secret"),
        "HOME": str(home),
        "PORT": str(servers[0].getsockname()[1]),
        "SOCKET": str(root / "s"),
        "ABSTRACT": f"gristmill-test-{root.name}",
        "PID": str(victim.pid),
        "FOLDER": str(folder),
    }
    yield Prey(names, victim, connections, folder, devices())
    victim.kill()
    victim.wait()
    for server in servers:
        server.close()
    shutil.rmtree(root)
    for name, value in old.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


def devices() -> dict[str, tuple[int, int]]:
    """Mode and owner of the devices to which runs may write."""
    found = {name: os.stat(f"/dev/{name}") for name in DEVICES}
    return {name: (state.st_mode, state.st_uid) for name, state in found.items()}


def _note(server: socket.socket, connections: list[str]) -> None:
    try:
        while True:
            connections.append(str(server.accept()))
    except OSError:
        return


@pytest.fixture(scope="module")
def box(prey: Prey) -> Iterator[Sandbox]:
    """A sandbox with one zygote, so that the next run is a copy of the same process as the attack."""
    with Sandbox(LIMITS, workers=1) as sandbox:
        yield sandbox


def untouched(box: Sandbox) -> None:
    [zygote] = box._zygotes
    # In the program's process and in that of its tests, which the other does not show in its /proc.
    after = box.run_now(RunTests(UNTOUCHED + "def f(x): return x + 1", UNTOUCHED_TESTS), PATIENT)
    assert after.status is Status.PASSED, after
    assert box._zygotes == [zygote], "the worker had to be started again"


def script(box: Sandbox, prey: Prey, program: str, limits: Limits = PATIENT) -> JobResult:
    result = box.run_now(RunScript(prey.fill(program)), limits)
    assert "ESCAPED" not in result.stdout, result
    assert SECRET not in result.stdout + result.stderr
    assert prey.unharmed()
    return result


@pytest.mark.parametrize("name", [*NETWORK, *FILES, *PROCESSES])
def test_attack(box: Sandbox, prey: Prey, name: str) -> None:
    result = script(box, prey, TRY + {**NETWORK, **FILES, **PROCESSES}[name] + "\nprint('tried')")
    assert result.stdout.endswith("tried\n"), result
    untouched(box)


@pytest.mark.parametrize("name", RESOURCES)
def test_limit(box: Sandbox, prey: Prey, name: str) -> None:
    program, expected = RESOURCES[name]
    started = time.monotonic()
    limits = LIMITS if "timeout" in expected else PATIENT
    result = script(box, prey, program, limits)
    assert result.status in expected, result
    assert time.monotonic() - started < limits.wall_seconds + 3
    assert len(result.stdout) <= LIMITS.output_kib * 1024
    assert len(result.stderr) <= LIMITS.output_kib * 1024
    assert result.status is Status.PASSED or result.message
    untouched(box)


@pytest.mark.parametrize("name", STATE)
def test_nothing_reaches_the_next_run(box: Sandbox, prey: Prey, name: str) -> None:
    script(box, prey, STATE[name])
    untouched(box)


@pytest.mark.parametrize("name", FAKES)
def test_a_program_cannot_pass_by_ending_early(box: Sandbox, name: str) -> None:
    result = box.run_now(RunTests(FAKES[name], "assert f(1) == 2\nassert f(2) == 3"), PATIENT)
    assert result.status in (Status.FAILED, Status.ERROR, Status.KILLED), result
    untouched(box)


def test_every_denied_call_is_denied(box: Sandbox) -> None:
    numbers = {name: number_here(pair) for name, pair in DENIED.items()}
    program = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for name, number in {numbers!r}.items():
    if number is not None:
        ctypes.set_errno(0)
        if libc.syscall(ctypes.c_long(number), *[ctypes.c_long(0)] * 6) != -1 or ctypes.get_errno() != 1:
            print("ESCAPED", name, ctypes.get_errno())
"""
    result = box.run_now(RunScript(program))
    assert result.status is Status.PASSED
    assert result.stdout == ""


def test_a_later_kernels_calls_and_the_other_abi_are_not_there(box: Sandbox) -> None:
    program = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for number in (435, 463, 470, 1000, 0x40000000 + 39):
    libc.syscall(ctypes.c_long(number), *[ctypes.c_long(0)] * 6)
    print(ctypes.get_errno())
"""
    assert box.run_now(RunScript(program)).stdout.split() == ["38"] * 5


def test_a_thousand_runs_leave_nothing_behind(tmp_path: Path) -> None:
    program = (
        "import os\nif os.fork() == 0:\n    os.setsid()\n    import time; time.sleep(60)\nopen('f', "
        "'w').write('x')"
    )
    scratch = Path("/tmp")
    with Sandbox(PATIENT, workers=2) as box:
        warm = [box._submit(RunScript("pass"), None) for _ in range(20)]
        assert all(run.result().passed for run in warm)
        before = _left(box), set(os.listdir(scratch)), Path("/proc/self/mountinfo").read_text()
        runs = [box._submit(RunScript(program if n % 10 == 0 else "pass"), None) for n in range(1000)]
        assert all(run.result().passed for run in runs)
        after = _left(box), set(os.listdir(scratch)), Path("/proc/self/mountinfo").read_text()
        assert after[0] == before[0]
        assert after[2] == before[2]
        assert not [name for name in after[1] - before[1] if "sandbox" in name]
        workers = [zygote.pid for zygote in box._zygotes]
    assert not any(psutil.pid_exists(pid) for pid in workers)


def _left(box: Sandbox) -> list[tuple[int, int, int]]:
    """The numbers of child processes, descriptors and mounts of each zygote, once it is idle.

    The wait is needed because an answer arrives before the last process of a run has ended.
    """
    found = []
    for zygote in box._zygotes:
        below = psutil.Process(zygote.pid).children(recursive=True)
        deadline = time.monotonic() + 60
        while len(below) > 1 and time.monotonic() < deadline:
            time.sleep(0.02)
            below = psutil.Process(zygote.pid).children(recursive=True)
        inner = below[0].pid
        mounts = Path(f"/proc/{inner}/mountinfo").read_text().count("\n")
        # Only root may look at the descriptors of a zygote.
        descriptors = len(os.listdir(f"/proc/{inner}/fd")) if os.geteuid() == 0 else -1
        found.append((len(below), descriptors, mounts))
    return found
