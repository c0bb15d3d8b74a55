"""Control groups: where they are created, what they limit, and that none is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill.datagen.sandbox import cgroups
from gristmill.datagen.sandbox.cgroups import ControlGroup
from gristmill.datagen.sandbox.jobs import RunScript
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.datagen.sandbox.results import Status

#: The name of a parent group that tests create.
ABOVE = f"above-{os.getpid()}"
V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
V1 = (
    "35 31 0:32 /docker/7f /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
)


@pytest.fixture
def group() -> Iterator[ControlGroup]:
    made = cgroups.make()
    if made is None:
        pytest.skip("this machine lets nobody make a control group")
    yield made
    made.close()


def folders() -> set[Path]:
    """All current groups of this process."""
    mounts, own = Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text()
    parents = {parent for _, places in cgroups.places(mounts, own) for parent in places.values()}
    return {folder for parent in parents for folder in parent.glob(f"gristmill-{os.getpid()}-*")}


def test_version_2_is_tried_below_and_then_beside_this_processs_own() -> None:
    found = list(cgroups.places(V2, "0::/user.slice/app.slice/run.scope\n"))
    own = Path("/sys/fs/cgroup/user.slice/app.slice/run.scope")
    assert found == [(2, dict.fromkeys(("memory", "pids"), at)) for at in (own, own.parent)]


def test_version_1_takes_each_controllers_own_folder_as_it_shows_here() -> None:
    own = "8:pids:/a\n4:cpu,memory:/docker/7f/b\n0::/\n"
    expected = {"memory": Path("/sys/fs/cgroup/memory/b"), "pids": Path("/sys/fs/cgroup/pids/a")}
    assert list(cgroups.places(V1, own)) == [(1, expected)]


@pytest.mark.parametrize("own", ["8:pids:/a\n", "8:pids:/a\n4:memory:/elsewhere\n", ""])
def test_one_controller_alone_or_out_of_sight_is_none(own: str) -> None:
    assert list(cgroups.places(V1, own)) == []


def test_a_group_holds_what_is_started_in_it_from_its_first_moment(group: ControlGroup) -> None:
    program = (
        "import os, sys; os.fork(); print(open('/proc/self/cgroup').read(), flush=True); sys.stdin.read()"
    )
    command = group.command([sys.executable, "-c", program])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        name = group.folders["pids"].name
        told = [process.stdout.readline() for _ in range(4)]
        assert any(name in line for line in told)
        assert group.ready()
        process.stdin.close()


def test_a_group_that_nothing_joined_is_not_ready(group: ControlGroup) -> None:
    assert not group.ready()


def test_what_a_killed_process_left_is_swept(group: ControlGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "STALE", -1.0)
    with subprocess.Popen(["true"]) as gone:
        pass
    left = group.folders["pids"].with_name(f"gristmill-{gone.pid}-0")
    left.mkdir()
    foreign = left.with_name("gristmill-theirs")
    foreign.mkdir()
    try:
        another = cgroups.make()
        assert another is not None
        assert not left.exists()
        assert group.folders["pids"].exists(), "its maker lives"
        assert foreign.exists()
        another.close()
    finally:
        foreign.rmdir()


@pytest.mark.parametrize("first", ["pass", "os.wait(); print('well'); sys.exit()", "time.sleep(60)"])
def test_memory_that_the_kernel_takes_for_a_run_is_bounded_too(group: ControlGroup, first: str) -> None:
    """Bytes in pipes and sockets are not in the resident memory of a process. Only the group counts them.

    The behavior and the exit of the first process make no difference.
    """
    program = f"""
import os, socket, sys, time
for child in range(3):
    if os.fork() == 0:
        break
else:
    {first}
pairs = []
while True:
    try:
        one, other = socket.socketpair()
    except OSError:
        break
    pairs.append((one, other))
    for end in (one, other):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        try:
            while True:
                end.send(b"x" * 32768)
        except OSError:
            pass
time.sleep(1)
"""
    # The first process may sleep until the time is up.
    limits = Limits(
        wall_seconds=20, cpu_seconds=10, memory_mib=64, scratch_mib=1, processes=8, open_files=512
    )
    with Sandbox(limits, workers=1) as box:
        assert box.isolation is not None
        assert box.isolation.cgroup == group.version
        result = box.run_now(RunScript(program))
        assert result.status is Status.MEMORY, result
        assert box.run_now(RunScript("print('well')")).stdout == "well\n"


GREEDY = "import sys; sys.stdin.readline(); held = b'x' * (400 << 20)"


def fill(group: ControlGroup) -> None:
    """Make the kernel kill a process in the group, because the group or a parent is short of memory."""
    with subprocess.Popen(group.command([sys.executable, "-c", GREEDY]), stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        deadline = time.monotonic() + 60
        while not group.ready() and time.monotonic() < deadline:
            time.sleep(0.02)
        group.hold(Limits(memory_mib=64, scratch_mib=1))
        assert group.short_of_memory() is None
        if group.folders["memory"].parent.name == ABOVE:
            group.hold(Limits(memory_mib=4096))
        process.stdin.write(b"\n")
        process.stdin.close()
    assert process.returncode == -9


def test_a_process_that_was_ended_for_memory_is_told_of_its_own_run_only(group: ControlGroup) -> None:
    fill(group)
    assert group.short_of_memory() == "own"
    group.hold(Limits(memory_mib=64, scratch_mib=1))
    assert group.short_of_memory() is None, "that was the run before"


@pytest.fixture
def crowded(group: ControlGroup) -> Iterator[Path]:
    """The memory controller's folder of a parent group that is short of memory, like a busy machine."""
    if group.version != 1:
        pytest.skip("only version 1 lets processes and groups share a folder")
    above = group.folders["memory"].with_name(ABOVE)
    above.mkdir()
    (above / "memory.limit_in_bytes").write_text(str(200 << 20))
    yield above
    left = [folder.name for folder in above.iterdir() if folder.is_dir()]
    for folder in (*(above / name for name in left), above):
        ControlGroup(1, {"memory": folder, "pids": folder}).close()
    assert left == []
    assert not above.exists()


def test_memory_that_is_short_elsewhere_is_told_apart(group: ControlGroup, crowded: Path) -> None:
    below = crowded / "gristmill-0-0"
    below.mkdir()
    inner = ControlGroup(1, {"memory": below, "pids": group.folders["pids"]})
    fill(inner)
    assert inner.short_of_memory() == "others"
    inner.close()


def test_version_2_tells_it_apart_too(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("5000000\n")
    (tmp_path / "pids.current").write_text("3\n")
    (tmp_path / "cgroup.procs").write_text("1\n")
    events = tmp_path / "memory.events"
    events.write_text("low 0\nhigh 0\nmax 4\noom 1\noom_kill 1\noom_group_kill 0\n")
    group = ControlGroup(2, dict.fromkeys(("memory", "pids"), tmp_path))
    assert group.ready()
    group.hold(Limits())
    assert group.short_of_memory() is None
    events.write_text("low 0\nhigh 0\nmax 9\noom 1\noom_kill 2\noom_group_kill 0\n")
    assert group.short_of_memory() == "others"
    events.write_text("low 0\nhigh 0\nmax 9\noom 2\noom_kill 2\noom_group_kill 0\n")
    assert group.short_of_memory() == "own"


IN_A_CROWD = """
import os, sys
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
from gristmill.datagen.sandbox import cgroups
from gristmill.datagen.sandbox.jobs import RunScript
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.contracts.errors import SandboxDied
if sys.argv[2] == "without":
    cgroups.make = lambda: None
with Sandbox(Limits(memory_mib=1024), workers=1) as box:
    assert bool(box.isolation.cgroup) == (sys.argv[2] == "with")
    try:
        print(box.run_now(RunScript("held = bytearray(400 << 20)")))
    except SandboxDied as error:
        print(error)
    print(box.run_now(RunScript("print('well')")).stdout)
"""


@pytest.mark.parametrize("groups", ["with", "without"])
def test_a_run_that_was_ended_because_others_took_the_memory_is_not_judged(
    crowded: Path, groups: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", IN_A_CROWD, str(crowded), groups], capture_output=True, text=True
    )
    told, well = done.stdout.split("\n")[:2]
    assert told == (
        "the sandbox failed twice, and what it ran was not judged: the kernel ended a process of it "
        "because the "
        "machine's memory was short"
    ), done
    assert well == "well"


def test_a_run_may_use_what_its_limits_say(group: ControlGroup) -> None:
    """The group is a second limit: a run within its own limits fits, also with other limits in later runs."""
    program = "held = bytearray(150 << 20)\nopen('f', 'wb').write(bytes(15 << 20))\nprint(len(held))"
    with Sandbox(Limits(memory_mib=256), workers=1) as box:
        for _ in range(5):
            assert box.run_now(RunScript(program)).passed
        small = Limits(memory_mib=128)
        assert box.run_now(RunScript(program), small).status is not Status.PASSED
        assert box.run_now(RunScript(program)).passed


def test_no_group_outlives_its_sandbox(group: ControlGroup) -> None:
    before = folders()
    with Sandbox(workers=2) as box:
        assert box.run_now(RunScript("pass")).passed
        assert folders() - before
        forks = "import os\nif os.fork() == 0:\n    import time; time.sleep(60)"
        assert box.run_now(RunScript(forks)).passed
    assert folders() == before


def test_a_group_whose_processes_take_their_time_is_removed_all_the_same(group: ControlGroup) -> None:
    with subprocess.Popen(group.command(["sleep", "0.3"])):
        time.sleep(0.1)
        group.close()
        assert not any(folder.exists() for folder in group.folders.values())


def test_names_tell_whose_they_are(group: ControlGroup) -> None:
    assert all(f"-{os.getpid()}-" in folder.name for folder in group.folders.values())
