"""Isolation by bubblewrap, if it is installed: the same attacks and the same verdicts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from gristmill.datagen.sandbox import isolation, launching
from gristmill.datagen.sandbox.bubblewrap import BubblewrapCalls
from gristmill.datagen.sandbox.failures import NotIsolated
from gristmill.datagen.sandbox.jobs import RunScript, RunTests
from gristmill.datagen.sandbox.launching import Zygote
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.datagen.sandbox.results import Status

from .attacks import FILES, NETWORK, PROCESSES, TRY

LIMITS = Limits(wall_seconds=300, cpu_seconds=2, memory_mib=192, processes=8, scratch_mib=4)


class Refusing(Zygote):
    """A machine on which only bubblewrap may make namespaces."""

    def __init__(self, way: launching.Way, *rest: object, **more: object) -> None:
        if way == "namespaces":
            raise NotIsolated("PermissionError: unshare: Operation not permitted")
        super().__init__(way, *rest, **more)  # type: ignore[arg-type]


def test_without_it_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(NotIsolated, match="bubblewrap is not installed"):
        BubblewrapCalls()


def test_not_as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(NotIsolated, match="run as another user"):
        BubblewrapCalls()


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    if shutil.which("bwrap") is None or os.geteuid() == 0:
        pytest.skip("bubblewrap is not installed, or this is root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(isolation, "Zygote", Refusing)
        with Sandbox(LIMITS, workers=2) as sandbox:
            assert sandbox.isolation is not None
            assert (sandbox.isolation.way, sandbox.isolation.isolated) == ("bubblewrap", True)
            yield sandbox


def test_verdicts(box: Sandbox) -> None:
    assert box.run_now(RunTests("def f(x): return x + 1", "assert f(1) == 2")).passed
    assert box.run_now(RunTests("def f(x): return x", "assert f(1) == 2")).status is Status.FAILED
    assert box.run_now(RunScript("while True: pass")).status is Status.TIMEOUT
    assert box.run_now(RunScript("x = bytearray(10**9)")).status is Status.MEMORY
    many = "import os, time\nfor _ in range(99):\n    if os.fork() == 0: time.sleep(60)"
    assert "BlockingIOError" in box.run_now(RunScript(many)).message
    full = "open('/tmp/x', 'wb').write(bytes(8 << 20))"
    assert "No space left" in box.run_now(RunScript(full)).message
    left = "open('left', 'w').write('x')\nimport os\nif os.fork() == 0:\n    import time; time.sleep(60)"
    assert box.run_now(RunScript(left)).passed
    assert box.run_now(RunScript("import os; print(os.listdir('.'))")).stdout == "[]\n"


#: Inside bubblewrap, /proc shows process 1 and the process that waits for the program, and there is a
#: terminal device.
SHOWN = {"descriptors of process 1", "command lines of others", "type into a terminal", "sysctl"}


@pytest.mark.parametrize("name", [name for name in (*NETWORK, *FILES, *PROCESSES) if name not in SHOWN])
def test_attack(box: Sandbox, name: str) -> None:
    program = TRY + {**NETWORK, **FILES, **PROCESSES}[name] + "\nprint('tried')"
    names = {"SECRET": os.environ.get("HOME", ""), "FILE": "/etc/hostname", "HOME": "/home", "PORT": "1"}
    names |= {"SOCKET": "/run/x", "ABSTRACT": "x", "PID": str(os.getpid()), "FOLDER": "/var/tmp"}
    for word, value in names.items():
        program = program.replace(f"@{word}@", value)
    result = box.run_now(RunScript(program))
    assert "ESCAPED" not in result.stdout, result
    assert result.stdout.endswith("tried\n"), result
