"""The program that waits inside the sandbox, warm, and forks a fresh process for each run.

Started by ``launching.py``. Every run gets a copy of this process, in a PID and mount namespace of its own, and is
gone with all it did when it ends: nothing that a run changes can reach the next.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any, NoReturn

from . import harness, landlock, namespaces, processes, root, seccomp, supervisor, syscalls
from .limits import Limits
from .messages import receive, send
from .worker import Place

#: Beyond a run's wall time, for its supervisor to end it in. After that the zygote does.
GRACE = 2.0
#: What tests and programs import most. Held by the zygote, so that they cost a run nothing.
COMMON = (
    "abc", "array", "base64", "bisect", "calendar", "cmath", "collections", "contextlib", "copy", "csv",
    "dataclasses", "datetime", "decimal", "difflib", "enum", "fractions", "functools", "hashlib", "heapq",
    "inspect", "io", "itertools", "json", "math", "numbers", "operator", "os", "pathlib", "pickle", "pprint",
    "queue", "random", "re", "statistics", "string", "struct", "sys", "tempfile", "textwrap", "threading",
    "time", "traceback", "types", "typing", "unittest", "unittest.mock", "uuid", "warnings", "weakref",
)  # fmt: skip
assert harness.JOBS  # imported here to be warm


def main(descriptor: int, settings: Mapping[str, Any]) -> NoReturn:
    """Isolate, say what there is, and serve runs until the other side of the socket is gone.

    ``settings``: ``isolated``, ``readable`` (paths of the interpreter and packages) and ``packages``
    (added to ``sys.path`` in runs), ``preload`` (modules to import beforehand).
    """
    channel = socket.socket(fileno=descriptor)
    os.umask(0o022)
    try:
        place = _isolate(settings) if settings["isolated"] else _in_the_open(settings)
        for name in COMMON:
            importlib.import_module(name)
        sys.path += place.packages
        for name in settings["preload"]:
            importlib.import_module(name)
        del sys.path[len(sys.path) - len(place.packages) :]
    except BaseException as error:
        send(channel, {"ready": False, "reason": f"{type(error).__name__}: {error}"})
        os._exit(1)
    told = {"landlock": place.landlock, "seccomp": place.seccomp, "separate": place.separate}
    send(channel, {"ready": True, "isolated": place.isolated, **told})
    gc.collect()
    gc.freeze()
    while True:
        try:
            request = receive(channel)
        except (EOFError, OSError):
            os._exit(0)
        limits = Limits(**request["limits"])
        send(channel, _run(request["job"], limits, place, channel))


def _isolate(settings: Mapping[str, Any]) -> Place:
    """Returns in the zygote, which is process 1 of its namespace; the launcher waits for it and ends."""
    separate = namespaces.enter()
    launcher = os.getpid()
    zygote = os.fork()
    if zygote:
        os.closerange(3, 1 << 16)
        _, status = os.waitpid(zygote, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    namespaces.die_with_parent(launcher)
    os.setsid()
    # Process 1 is only sent the signals that it handles, by those inside.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    user = namespaces.SEPARATE_USER if separate else 0
    root.enter(settings["readable"], user)
    syscalls.set_hostname("sandbox")
    syscalls.last_capability()  # these two are worked out once, for all runs
    seccomp.encoded()
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    return Place(True, user, separate, (), landlock.abi(), True, tuple(settings["packages"]))


def _in_the_open(settings: Mapping[str, Any]) -> Place:
    """What can be had without namespaces: Landlock and seccomp where the kernel has them."""
    filtered = os.path.exists("/proc/sys/kernel/seccomp/actions_avail")
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    readable = root.readable(settings["readable"])
    return Place(False, os.getuid(), False, readable, landlock.abi(), filtered, tuple(settings["packages"]))


def _run(job: Mapping[str, Any], limits: Limits, place: Place, channel: socket.socket) -> dict[str, Any]:
    """One run in a process of its own. Returns when nothing of it is left."""
    reading, writing = os.pipe()
    scratch = root.SCRATCH if place.isolated else tempfile.mkdtemp(prefix="gristmill-sandbox-")
    first = syscalls.fork_into(namespaces.RUN_FLAGS) if place.isolated else os.fork()
    if first == 0:
        channel.close()
        os.close(reading)
        _first_process(job, limits, place, scratch, writing)
    os.close(writing)
    told = _told(reading, channel, limits.wall_seconds + GRACE)
    os.close(reading)
    with contextlib.suppress(ProcessLookupError):
        os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    if not place.isolated:
        processes.kill_below(os.getpid())
        shutil.rmtree(scratch, ignore_errors=True)
    try:
        result: dict[str, Any] = json.loads(told)
        return result
    except ValueError:
        return {"status": "killed", "message": "the run's supervisor was killed"}


def _first_process(
    job: Mapping[str, Any], limits: Limits, place: Place, scratch: str, writing: int
) -> NoReturn:
    try:
        if place.isolated:
            root.enter_run(limits.scratch_mib, place.user)
        else:
            syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        result = supervisor.supervise(job, limits, place, scratch)
    except BaseException as error:
        result = {"status": "error", "message": f"the sandbox: {type(error).__name__}: {error}"}
    text = json.dumps(result).encode()
    while text:
        text = text[os.write(writing, text) :]
    os._exit(0)


def _told(reading: int, channel: socket.socket, seconds: float) -> bytes:
    """All that the run's supervisor says, for so many seconds. Ends this process where nobody waits any more."""
    deadline = time.monotonic() + seconds
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    poll.register(channel, select.POLLHUP)
    said = bytearray()
    while (left := deadline - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(left * 1000):
            if descriptor != reading:
                processes.kill_below(os.getpid())
                os._exit(0)
            more = os.read(reading, 1 << 20)
            if not more:
                return bytes(said)
            said += more
    return bytes(said)
