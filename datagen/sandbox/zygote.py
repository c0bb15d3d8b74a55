"""The zygote: a warm process inside the sandbox that forks a fresh process for each run.

``launching.py`` starts it. Each run gets a copy of this process in a PID and mount namespace of its own. When
the run ends, all of its processes and files are removed, so a run cannot affect a later one.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from . import harness, landlock, namespaces, packing, processes, root, supervisor, syscalls
from .limits import Limits
from .supervisor import Cause, RunFate, Supervisor
from .worker import ENDS, Place, Start, begin, set_environment

#: The modules that tests and programs import most. The zygote imports them once, so a run gets them at no
#: cost.
COMMON = (
    "abc", "array", "base64", "bisect", "calendar", "cmath", "codeop", "collections", "contextlib", "copy",
    "csv", "dataclasses", "datetime", "decimal", "difflib", "doctest", "enum", "fractions", "functools",
    "heapq", "inspect", "io", "itertools", "json", "math", "numbers", "operator", "os", "pathlib", "pdb",
    "pickle", "pprint", "queue", "random", "re", "readline", "statistics", "string", "struct", "sys",
    "tempfile", "textwrap", "threading", "time", "traceback", "types", "typing", "unittest", "warnings",
    "weakref",
)  # fmt: skip

#: Maximum size of a run's head in bytes, and of the reason why the zygote is not ready in characters.
HEAD, LONGEST = 4096, 10_000
#: A run's descriptors as sent with its head, and the size of the buffer that receives them.
_SENT = struct.pack(f"{len(ENDS)}i", *ENDS)
_ROOM = socket.CMSG_SPACE(len(_SENT))


def main(descriptor: int, settings: Mapping[str, Any]) -> NoReturn:
    """Isolate this process, report the isolation, and serve runs until the peer closes the socket.

    ``settings``: ``way`` (kind of isolation), ``readable`` (paths of the interpreter and packages),
    ``packages`` (added to ``sys.path`` in runs), ``preload`` (modules to import before any run), ``scratch``
    (working folder).
    """
    channel = _out_of_the_way(descriptor)
    os.umask(0o022)
    place: Place | None = None
    try:
        place = WAYS[settings["way"]](settings)
        for name in COMMON:
            with contextlib.suppress(ImportError):  # some builds of Python lack a module, such as readline
                importlib.import_module(name)
        harness.warm()
        harness.fresh_streams()
        sys.path += place.packages
        for name in settings["preload"]:
            importlib.import_module(name)
        del sys.path[len(sys.path) - len(place.packages) :]
        place = place.prepared()
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
        channel.send(
            json.dumps({"ready": False, "reason": reason[:LONGEST], "placed": place is not None}).encode()
        )
        os._exit(1)
    told = {"landlock": place.landlock, "seccomp": place.seccomp, "separate": place.separate}
    channel.send(json.dumps({"ready": True, "isolated": place.isolated, **told}).encode())
    os.closerange(ENDS[0], ENDS[-1] + 1)
    gc.collect()
    packing.fill_holes()
    gc.freeze()
    _serve(place, channel, settings["scratch"], once=settings["way"] == "bubblewrap")
    processes.kill_below(os.getpid())
    os._exit(0)


def _out_of_the_way(descriptor: int) -> socket.socket:
    """Move the socket to a higher descriptor, so that the descriptors of a run are free."""
    moved = socket.socket(fileno=fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, ENDS[-1] + 1))
    os.close(descriptor)
    for number in ENDS:
        os.dup2(0, number)
    return moved


def _isolate(settings: Mapping[str, Any]) -> Place:
    """Fork the zygote into its own namespaces. Returns in the zygote; the launcher waits for it and exits.

    The zygote is process 1 of its PID namespace.
    """
    separate = namespaces.enter()
    launcher = os.getpid()
    zygote = os.fork()
    if zygote:
        os.closerange(3, 1 << 16)
        _, status = os.waitpid(zygote, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    namespaces.die_with_parent(launcher)
    os.setsid()
    # Processes inside can send process 1 only those signals that it handles.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    user = namespaces.SEPARATE_USER if separate else 0
    root.enter(settings["readable"], user)
    syscalls.set_hostname("sandbox")
    syscalls.bound_capabilities()  # this process keeps the capabilities that it has
    set_environment(root.SCRATCH)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    foreign = bool(settings["preload"])
    return Place(True, True, user, separate, (), landlock.abi(), True, tuple(settings["packages"]), foreign)


def _in_the_open(settings: Mapping[str, Any]) -> Place:
    """Isolation without namespaces: Landlock and seccomp, if the kernel has them.

    Runs that root starts belong to nobody.
    """
    filtered = os.path.exists("/proc/sys/kernel/seccomp/actions_avail")
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    readable = root.readable(settings["readable"])
    packages = tuple(settings["packages"])
    separate = os.geteuid() == 0
    if separate:
        os.setgroups([])
        _try_as_nobody([*settings["readable"], os.path.dirname(os.__file__)])
    user, foreign = namespaces.NOBODY if separate else os.getuid(), bool(settings["preload"])
    return Place(False, False, user, separate, readable, landlock.abi(), filtered, packages, foreign)


def _try_as_nobody(readable: Sequence[str]) -> None:
    """Raises OSError if root cannot become nobody, or if nobody cannot read what runs need."""
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
            f"root's runs are nobody's (user {namespaces.NOBODY}), and as nobody: {refused}; run as "
            "another user"
        )


def _within_bubblewrap(settings: Mapping[str, Any]) -> Place:
    """Isolation inside bubblewrap, without capabilities.

    Such a zygote serves one run, since it cannot create namespaces for another.
    """
    packages, foreign = tuple(settings["packages"]), bool(settings["preload"])
    set_environment(root.SCRATCH)
    return Place(True, False, os.getuid(), False, (), landlock.abi(), True, packages, foreign)


WAYS = {"namespaces": _isolate, "bubblewrap": _within_bubblewrap, "unsafe": _in_the_open}


def _serve(place: Place, channel: socket.socket, folder: str, *, once: bool) -> None:
    """Carry out runs, one at a time, until the peer closes the channel.

    ``folder``: parent of the runs' folders, without isolation. ``once``: serve a single run. The zygote
    receives a run's limits and descriptors only. The job goes to the run's first process, and its output goes
    straight outside. So no data of a run is ever in this process, of which later runs are copies.
    """
    while True:
        try:
            head, sent, _, _ = channel.recvmsg(HEAD, _ROOM, socket.MSG_CMSG_CLOEXEC)
            if not head:
                return
            if head == supervisor.END:  # late: that run has already ended
                continue
            channel.send(_run(place, channel, folder, head, sent).encoded())
        except (EOFError, ConnectionError):
            return
        if once:
            return


def _run(place: Place, channel: socket.socket, folder: str, head: bytes, sent: Sequence[Any]) -> RunFate:
    """Carry out one run and remove everything that it leaves. Returns its fate."""
    scratch = root.SCRATCH
    try:
        start = _read(head, place)
        if [data for _, _, data in sent] != [_SENT]:
            raise OSError("the run's descriptors did not come, or not to their places")
        if not place.isolated:
            scratch = tempfile.mkdtemp(dir=folder)
            set_environment(scratch)
            if place.separate:
                os.chown(scratch, place.user, place.user)
        started = time.monotonic()
        flags = namespaces.RUN_FLAGS if place.capable else 0
        first = syscalls.fork(flags, handlers=place.foreign)
    except OSError as error:
        return RunFate(Cause.LOST, why=f"{type(error).__name__}: {error}")
    if first == 0:
        begin(start, place, scratch)
    os.closerange(ENDS[0], ENDS[-1] + 1)
    try:
        return Supervisor(
            first, start.limits, judged=start.judged, isolated=place.isolated, started=started
        ).fate(channel)
    finally:
        if not place.isolated:
            processes.kill_below(os.getpid())
            shutil.rmtree(scratch, ignore_errors=True)


#: The last ``Start``, by its head: most runs have the same head.
_starts: dict[bytes, Start] = {}


def _read(head: bytes, place: Place) -> Start:
    if head not in _starts:
        told = json.loads(head)
        _starts.clear()
        _starts[head] = Start.of(Limits(**told["limits"]), place, judged=told["judged"])
    return _starts[head]
