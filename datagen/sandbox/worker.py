"""The process in which untrusted code runs: gives up what it could do harm with, then does the job."""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from . import landlock, seccomp, syscalls
from .limits import KIB, MIB, Limits
from .messages import receive

ENVIRONMENT = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where runs happen. ``isolated``: in namespaces of their own; ``capable``: with the capabilities that
    making those takes, to be given up. ``user``: the id that they run under,
    inside; ``separate``: no process of ours has that id. ``readable``: paths that they may read where there
    is no root of their own. ``landlock``: the kernel's ABI, 0 for none. ``packages``: added to ``sys.path``.
    """

    isolated: bool
    capable: bool
    user: int
    separate: bool
    readable: Sequence[str]
    landlock: int
    seccomp: bool
    packages: Sequence[str]


#: Descriptors beside the standard streams: where the result is told, and where the job comes.
REPORT, ORDERS = 3, 4


def work(head: Mapping[str, Any], limits: Limits, place: Place, scratch: str, token: str) -> NoReturn:
    """Standard input, output and error, :data:`REPORT` and :data:`ORDERS` are in place.

    Where the run is judged, this process becomes the judge, and starts the program's before it knows a word of the tests.
    """
    from . import harness

    try:
        os.chdir(scratch)
        confine(limits, place, scratch, judged=head["judged"])
        path = [path for path in sys.path if path]
        subject = _start_subject(scratch, path, place) if head["judged"] else None
    except BaseException as error:  # nothing of the program has run yet
        lost = {"token": token, "lost": f"the run's worker: {type(error).__name__}: {error}"}
        os.write(REPORT, json.dumps(lost).encode())
        os._exit(0)
    try:
        with socket.socket(fileno=ORDERS) as orders:
            job = receive(orders)
        _write_files(job["files"])
        if job["kind"] == "command":
            _become(job["argv"])
        if subject is not None:
            # What the program writes into its folder must not be importable here.
            sys.path[:] = [*path, *place.packages]
            harness.judge(job, *subject, REPORT, token)
        sys.path[:] = [scratch, *path, *place.packages]
        harness.carry_out(job, REPORT, token)
    except BaseException as error:
        os.write(2, f"the sandbox could not start the run: {type(error).__name__}: {error}\n".encode())
    os._exit(111)


def _start_subject(scratch: str, path: Sequence[str], place: Place) -> tuple[int, socket.socket]:
    """The program's process, and the socket by which it answers. It can neither look into this process nor trace it."""
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    ours, theirs = socket.socketpair()
    process = os.fork()
    if process:
        theirs.close()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        nothing = os.open("/dev/null", os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        return process, ours
    try:
        os.setsid()
        os.dup2(theirs.fileno(), REPORT, inheritable=False)
        os.closerange(ORDERS, 1 << 16)
        ours.detach()
        theirs.detach()
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
        sys.path[:] = [scratch, *path, *place.packages]
        from . import harness

        harness.answer(REPORT)
    finally:
        os._exit(111)


def confine(limits: Limits, place: Place, scratch: str, *, judged: bool = False) -> None:
    """Limits, no privileges, no files but its own, few system calls; none of it can be undone."""
    set_environment(scratch)
    os.umask(0o077)
    _limit(limits, place, 1 if judged else 0)
    _first_to_end()
    if place.separate:
        os.setresgid(place.user, place.user, place.user)
        os.setresuid(place.user, place.user, place.user)
    syscalls.drop_capabilities()
    if not place.isolated:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)  # after the change of user, which undoes it
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    if place.landlock:
        readable = ["/"] if place.isolated else [*place.readable, "/dev"]
        landlock.restrict(readable, [scratch, "/dev/null", "/dev/zero", "/dev/full"], place.landlock)
    if place.seccomp:
        seccomp.install()


def set_environment(scratch: str) -> None:
    """Seven variables, none of them the user's."""
    paths = dict.fromkeys([os.path.dirname(sys.executable), "/usr/local/bin", "/usr/bin", "/bin"])
    wanted = {**ENVIRONMENT, "HOME": scratch, "TMPDIR": scratch, "PATH": ":".join(paths)}
    if os.environ != wanted:  # which it is where the waiting process has it so
        os.environ.clear()
        os.environ.update(wanted)


def _first_to_end() -> None:
    """Where memory is short, the kernel is to end the run, and not what waits for it."""
    with contextlib.suppress(OSError):
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(descriptor, b"1000")
        os.close(descriptor)


def _limit(limits: Limits, place: Place, judges: int) -> None:
    def both(name: int, soft: float, hard: float | None = None) -> None:
        resource.setrlimit(name, (math.ceil(soft), math.ceil(soft if hard is None else hard)))

    both(resource.RLIMIT_AS, limits.memory_mib * MIB)
    both(resource.RLIMIT_CPU, limits.cpu_seconds, math.ceil(limits.cpu_seconds) + 1)
    both(resource.RLIMIT_FSIZE, limits.file_mib * MIB)
    both(resource.RLIMIT_NOFILE, limits.open_files)
    both(resource.RLIMIT_CORE, 0)
    both(resource.RLIMIT_MEMLOCK, 0)
    both(resource.RLIMIT_MSGQUEUE, 0)
    both(resource.RLIMIT_STACK, 8 * MIB)
    both(resource.RLIMIT_SIGPENDING, 4 * KIB)
    if place.isolated:
        # Counted in each user namespace since Linux 5.14; ours are the launcher, the zygote and pid 1.
        both(resource.RLIMIT_NPROC, limits.processes + judges + (0 if place.separate else 3))


def _write_files(files: Mapping[str, str]) -> None:
    for name, text in files.items():
        if folder := os.path.dirname(name):
            os.makedirs(folder, exist_ok=True)
        with open(name, "w", encoding="utf-8", newline="") as file:
            file.write(text)


def _become(argv: Sequence[str]) -> NoReturn:
    gc.disable()
    try:
        os.execvp(argv[0], list(argv))
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
        os._exit(127)
