"""The program that waits inside the sandbox, warm, and forks a fresh process for each run.

Started by ``launching.py``. Every run gets a copy of this process, in a PID and mount namespace of its own, and is
gone with all it did when it ends: nothing that a run changes can reach the next.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from . import harness, landlock, namespaces, processes, root, seccomp, supervisor, syscalls
from .limits import Limits
from .messages import receive, send
from .worker import Place, set_environment

#: What tests and programs import most. Held by the zygote, so that they cost a run nothing.
COMMON = (
    "abc", "array", "base64", "bisect", "calendar", "cmath", "codeop", "collections", "contextlib", "copy", "csv",
    "dataclasses", "datetime", "decimal", "difflib", "doctest", "enum", "fractions", "functools", "hashlib", "heapq",
    "inspect", "io", "itertools", "json", "math", "numbers", "operator", "os", "pathlib", "pdb", "pickle", "pprint",
    "queue", "random", "re", "readline", "statistics", "string", "struct", "sys", "tempfile", "textwrap", "threading",
    "time", "traceback", "types", "typing", "unittest", "uuid", "warnings", "weakref",
)  # fmt: skip


def main(descriptor: int, settings: Mapping[str, Any]) -> NoReturn:
    """Isolate, say what there is, and serve runs until the other side of the socket is gone.

    ``settings``: ``way`` (of isolation), ``readable`` (paths of the interpreter and packages) and ``packages``
    (added to ``sys.path`` in runs), ``preload`` (modules to import beforehand), ``scratch`` (the folder to work in).
    """
    channel = socket.socket(fileno=descriptor)
    os.umask(0o022)
    place: Place | None = None
    try:
        place = WAYS[settings["way"]](settings)
        for name in COMMON:
            with contextlib.suppress(ImportError):  # readline, say, is not in every Python
                importlib.import_module(name)
        harness.warm()
        harness.fresh_streams()
        sys.path += place.packages
        for name in settings["preload"]:
            importlib.import_module(name)
        del sys.path[len(sys.path) - len(place.packages) :]
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
        send(channel, {"ready": False, "reason": reason, "placed": place is not None})
        os._exit(1)
    told = {"landlock": place.landlock, "seccomp": place.seccomp, "separate": place.separate}
    send(channel, {"ready": True, "isolated": place.isolated, **told})
    if settings["way"] == "bubblewrap":
        _wait(channel, select.POLLIN)
        _first_process(place, root.SCRATCH, channel)
    gc.collect()
    gc.freeze()
    while True:
        _wait(channel, select.POLLIN)
        _run(place, channel, settings["scratch"])


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
    syscalls.bound_capabilities()  # takes none that this process has
    set_environment(root.SCRATCH)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    return Place(True, True, user, separate, (), landlock.abi(), True, tuple(settings["packages"]))


def _in_the_open(settings: Mapping[str, Any]) -> Place:
    """What can be had without namespaces: Landlock and seccomp where the kernel has them. Root's runs are nobody's."""
    filtered = os.path.exists("/proc/sys/kernel/seccomp/actions_avail")
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    readable = root.readable(settings["readable"])
    packages = tuple(settings["packages"])
    separate = os.geteuid() == 0
    if separate:
        os.setgroups([])
        _try_as_nobody([*settings["readable"], os.path.dirname(os.__file__)])
    user = namespaces.NOBODY if separate else os.getuid()
    return Place(False, False, user, separate, readable, landlock.abi(), filtered, packages)


def _try_as_nobody(readable: Sequence[str]) -> None:
    """Raises OSError where root cannot become nobody, or nobody cannot read what runs need."""
    told, tell = os.pipe()
    trial = os.fork()
    if trial == 0:
        try:
            os.setresgid(namespaces.NOBODY, namespaces.NOBODY, namespaces.NOBODY)
            os.setresuid(namespaces.NOBODY, namespaces.NOBODY, namespaces.NOBODY)
            for path in readable:
                os.listdir(path)
        except OSError as error:
            os.write(tell, str(error).encode())
        os._exit(0)
    os.close(tell)
    with open(told, encoding="utf-8", errors="replace") as pipe:
        refused = pipe.read()
    os.waitpid(trial, 0)
    if refused:
        raise OSError(
            f"root's runs are nobody's (user {namespaces.NOBODY}), and as nobody: {refused}; run as another user"
        )


def _within_bubblewrap(settings: Mapping[str, Any]) -> Place:
    """Namespaces are there, and no capability. Serves one run: there can be no fresh ones for another."""
    packages = tuple(settings["packages"])
    return Place(True, False, os.getuid(), False, (), landlock.abi(), True, packages)


WAYS = {"namespaces": _isolate, "bubblewrap": _within_bubblewrap, "unsafe": _in_the_open}


def _wait(channel: socket.socket, event: int, process: int | None = None) -> None:
    """Until something comes, or the process ends. Ends this one where nobody is at the other side any more."""
    poll = select.poll()
    poll.register(channel, event)
    if process is not None:
        poll.register(process, select.POLLIN)
    while True:
        found = dict(poll.poll())
        if found.get(channel.fileno(), 0) & (select.POLLHUP | select.POLLERR):
            processes.kill_below(os.getpid())
            os._exit(0)
        if found:
            return


def _run(place: Place, channel: socket.socket, folder: str) -> None:
    """One run in a process of its own. Returns when nothing of it is left.

    ``folder``: where it gets one of its own, without isolation. That process alone reads what is asked and sends what came of it: no run's text is ever in the memory
    that later runs are copies of.
    """
    scratch = root.SCRATCH if place.isolated else tempfile.mkdtemp(dir=folder)
    if place.separate and not place.isolated:
        os.chown(scratch, place.user, place.user)
    first = syscalls.fork_into(namespaces.RUN_FLAGS) if place.isolated else os.fork()
    if first == 0:
        _first_process(place, scratch, channel)
    ending = os.pidfd_open(first)
    _wait(channel, 0, ending)
    os.close(ending)
    _, status = os.waitpid(first, 0)
    if not place.isolated:
        processes.kill_below(os.getpid())
        shutil.rmtree(scratch, ignore_errors=True)
    if status != 0:
        send(channel, {"lost": "the run's supervisor was killed"})


def _first_process(place: Place, scratch: str, channel: socket.socket) -> NoReturn:
    try:
        head = receive(channel)
        limits = Limits(**head["limits"])
        if place.capable:
            root.enter_run(limits.scratch_mib, place.user, place.packages)
        elif not place.isolated:
            syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
            syscalls.prctl(syscalls.PR_SET_PDEATHSIG, namespaces.KILL_SIGNAL)
        result = supervisor.supervise(head, channel, limits, place, scratch)
    except (EOFError, ConnectionError):
        os._exit(0)
    except BaseException as error:
        result = {"lost": f"the run's supervisor: {type(error).__name__}: {error}"}
    with contextlib.suppress(OSError):
        send(channel, result)
    os._exit(0)
