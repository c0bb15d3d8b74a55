"""Runs without isolation: only on request, as nobody when started by root, and without leaving files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gristmill.contracts.errors import SandboxError
from gristmill.datagen.sandbox import cgroups, folders, isolation, launching
from gristmill.datagen.sandbox.failures import NotIsolated
from gristmill.datagen.sandbox.jobs import RunScript, RunTests
from gristmill.datagen.sandbox.launching import Zygote
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.datagen.sandbox.results import Status

LIMITS = Limits(wall_seconds=300, cpu_seconds=2, memory_mib=256)
AS_ROOT = os.geteuid() == 0
NOBODY = 65534


class Refusing(Zygote):
    """A machine on which namespaces are not allowed."""

    def __init__(self, way: launching.Way, *rest: object, **more: object) -> None:
        if way == "namespaces":
            raise NotIsolated("PermissionError: unshare: Operation not permitted")
        super().__init__(way, *rest, **more)  # type: ignore[arg-type]


def no_bubblewrap(*rest: object, **more: object) -> None:
    raise NotIsolated("bubblewrap is not installed")


@pytest.fixture(autouse=True)
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "Zygote", Refusing)
    monkeypatch.setattr(isolation, "BubblewrapCalls", no_bubblewrap)


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder for temporary files that only this test uses and that anybody may traverse."""
    tmp_path_factory.getbasetemp()  # which lies where temporary files usually do
    folder = tempfile.mkdtemp()
    os.chmod(folder, 0o755)
    monkeypatch.setattr(tempfile, "tempdir", folder)
    yield
    shutil.rmtree(folder)


@pytest.fixture
def box(python: None) -> Iterator[Sandbox]:
    with Sandbox(LIMITS, workers=1, unsafe=True) as sandbox:
        assert sandbox.isolation is not None
        assert not sandbox.isolation.isolated
        yield sandbox


def left() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob(f"{folders.PREFIX}*"))


def test_without_isolation_nothing_runs_unless_it_is_asked_for() -> None:
    with (
        pytest.raises(SandboxError, match=r"Operation not permitted.*max_user_namespaces.*unsafe"),
        Sandbox(LIMITS),
    ):
        pass


def test_verdicts_and_limits_are_as_ever(box: Sandbox) -> None:
    assert box.run_now(RunTests("def f(x): return x + 1", "assert f(1) == 2")).passed
    assert box.run_now(RunTests("def f(x): return x", "assert f(1) == 2")).status is Status.FAILED
    assert box.run_now(RunScript("while True: pass")).status is Status.TIMEOUT
    assert box.run_now(RunScript("x = bytearray(10**9)")).status is Status.MEMORY
    assert box.run_now(RunScript("import tempfile; print(tempfile.mkdtemp())")).passed


def test_what_walls_there_are_hold(box: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    assert box.isolation is not None
    if box.isolation.seccomp:
        assert box.run_now(RunScript("import socket; socket.socket()")).status is Status.FAILED
    if box.isolation.landlock:
        assert "PermissionError" in box.run_now(RunScript(f"open({str(secret)!r})")).message
        assert "PermissionError" in box.run_now(RunScript(f"open({str(tmp_path / 'new')!r}, 'w')")).message


@pytest.fixture
def more_groups() -> Iterator[None]:
    """Adds this process to one more group."""
    before = os.getgroups()
    if AS_ROOT:
        os.setgroups([*before, 4])
    yield
    if AS_ROOT:
        os.setgroups(before)


@pytest.mark.skipif(not AS_ROOT, reason="only root's runs are nobody's")
def test_root_runs_it_as_nobody(more_groups: None, box: Sandbox) -> None:
    assert box.isolation is not None
    assert box.isolation.separate
    told = "import os\nprint(os.getresuid(), os.getresgid(), os.getgroups())"
    assert box.run_now(RunScript(told)).stdout == f"{(NOBODY,) * 3} {(NOBODY,) * 3} []\n"
    capabilities = (
        "import ctypes, struct\n"
        "held = ctypes.create_string_buffer(24)\n"
        "assert ctypes.CDLL(None).capget(struct.pack('=Ii', 0x20080522, 0), held) == 0\n"
        "print(any(held.raw))"
    )
    assert box.run_now(RunScript(capabilities)).stdout == "False\n"


@pytest.mark.skipif(not AS_ROOT, reason="what this user owns it may change")
@pytest.mark.parametrize(
    "attempt",
    ["os.chmod({0!r}, 0o777)", "os.chown({0!r}, 0, 0)", "os.utime({0!r}, (1, 1))", "os.kill({1}, 9)"],
)
def test_as_nobody_it_changes_nothing_of_roots(box: Sandbox, tmp_path: Path, attempt: str) -> None:
    file = tmp_path / "file"
    file.touch(0o644)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    before = file.stat()
    with subprocess.Popen(["sleep", "60"]) as victim:
        result = box.run_now(RunScript("import os; " + attempt.format(str(file), victim.pid)))
        assert result.status is Status.FAILED
        assert "PermissionError" in result.message
        assert victim.poll() is None
        victim.kill()
    after = file.stat()
    assert (before.st_mode, before.st_uid, before.st_mtime) == (after.st_mode, after.st_uid, after.st_mtime)


@pytest.mark.skipif(not AS_ROOT, reason="only root's runs are nobody's")
def test_where_nobody_can_read_python_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    found, readable = launching.interpreter()
    monkeypatch.setattr(launching, "interpreter", lambda: (found, [*readable, str(tmp_path)]))
    with (
        pytest.raises(
            SandboxError, match=r"root's runs are nobody's.*Permission denied.*run as another user"
        ),
        Sandbox(LIMITS, unsafe=True),
    ):
        pass


def test_each_worker_says_that_it_is_unsafe(python: None, caplog: pytest.LogCaptureFixture) -> None:
    with Sandbox(LIMITS, workers=2, unsafe=True) as box:
        for run in [box._submit(RunScript("import time; time.sleep(0.8)"), None) for _ in range(2)]:
            assert run.result().passed
    told = [record.message for record in caplog.records]
    assert len(told) == 2
    assert all("UNSAFE" in each and ("as nobody" if AS_ROOT else "as this user") in each for each in told)


LEAVES = """
import os, time
open('f', 'w').close()
if os.fork() == 0:
    os.setsid()
    time.sleep(60)
print(os.getcwd())
"""


def test_nothing_of_a_run_is_left(box: Sandbox) -> None:
    folder = Path(box.run_now(RunScript(LEAVES)).stdout.strip())
    assert folder.parent in left()
    assert box.run_now(RunScript("pass")).passed
    assert not folder.exists()
    worker = psutil.Process(box._zygotes[0].pid)
    deadline = time.monotonic() + 60
    while worker.children(recursive=True) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert worker.children(recursive=True) == []


def ended(processes: list[psutil.Process], seconds: float) -> bool:
    """Whether all processes have ended within this time, reaped or not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(map(_lives, processes)):
            return True
        time.sleep(0.02)
    return False


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("groups", [True, False])
@pytest.mark.parametrize("killed", ["program of a run", "first process of a run", "zygote"])
def test_nothing_is_left_of_a_worker_that_is_killed(
    python: None, monkeypatch: pytest.MonkeyPatch, killed: str, groups: bool
) -> None:
    if not groups:
        monkeypatch.setattr(cgroups, "make", lambda: None)
    before = left()
    with Sandbox(LIMITS, workers=1, unsafe=True) as box:
        run = box._submit(
            RunScript("import time; open('f', 'w').close(); time.sleep(1.0); print('well')"), None
        )
        zygote = psutil.Process(box._zygotes[0].pid)
        deadline = time.monotonic() + 60
        while len(zygote.children(recursive=True)) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.1)
        all_of_it = [zygote, *zygote.children(recursive=True)]
        hit = {"zygote": 0, "first process of a run": 1}.get(killed, 2)
        os.kill(all_of_it[hit].pid, signal.SIGKILL)
        assert ended(all_of_it[hit:], 1.5), "what is below it ends with it, long before its time"
        assert run.result().stdout == "well\n", "it was run again"
    assert left() == before
    assert ended(all_of_it, 60)


@pytest.mark.parametrize("way", ["ends", "is killed"])
def test_nothing_is_left_of_a_process_that_ends(
    python: None, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    before = left()
    child = os.fork()
    if child == 0:
        try:
            box = Sandbox(LIMITS, workers=1, unsafe=True).__enter__()
            box.run_now(RunScript(LEAVES))
            if way == "is killed":
                os.kill(os.getpid(), signal.SIGKILL)
            box.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    if way == "is killed":
        assert len(left() - before) == 1
        with folders.temporary_folder() as other:
            assert len(left() - before) == 2, "it may have been made this moment"
            monkeypatch.setattr(folders, "STALE", -1.0)
            with folders.temporary_folder():
                assert Path(other).exists(), "this process has it"
    assert left() == before


def test_a_folder_of_others_is_let_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(folders, "STALE", -1.0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mine, link, kept = (tmp_path / f"{folders.PREFIX}{name}" for name in ("mine", "link", "kept"))
    target = tmp_path / "target"
    target.mkdir()
    mine.mkdir()
    link.symlink_to(target)
    kept.mkdir()
    if AS_ROOT:
        os.chown(kept, NOBODY, NOBODY)
    with folders.temporary_folder():
        assert not mine.exists()
        assert target.exists()
        assert kept.exists() == AS_ROOT
