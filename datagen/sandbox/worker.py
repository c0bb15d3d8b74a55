"""The two processes of a run: its first process, and the process that runs the untrusted code.

The first process judges the run, or waits for the other one. Both give up their privileges here, before they
read anything of the run.
"""

from __future__ import annotations

import ctypes
import gc
import json
import math
import os
import resource
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn

from . import namespaces, root, seccomp, syscalls
from .landlock import Rules
from .limits import KIB, MIB, Limits
from .messages import exactly, receive
from .seccomp import Filter
from .syscalls import Prepared

if TYPE_CHECKING:
    from .harness import Ready

ENVIRONMENT = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
#: Descriptors of a run's first process, in the order in which they are sent: for the report, for the job, the
#: two ends of the socket between judge and program, and the standard streams.
ENDS = REPORT, ORDERS, ASKING, ANSWERING, STDIN, STDOUT, STDERR = [*range(3, 10)]
#: Length of the token in front of a job, in bytes. A report without that token is not accepted.
TOKEN = 32
#: Maximum length of the reason why a run could not be started, in characters.
LONGEST = 500
#: Highest limit; above it a limit means none.
_MOST = 2**63 - 1
_ALL = 1 << 16


@dataclass(frozen=True, slots=True)
class Place:
    """The environment in which runs start.

    ``isolated``: runs have namespaces of their own. ``capable``: runs start with the capabilities to create
    namespaces, and give them up. ``user``: user id of runs, inside. ``separate``: no other process has that
    id. ``readable``: paths that runs may read if they have no root of their own. ``landlock``: ABI of the
    kernel's Landlock, 0 for none. ``packages``: added to ``sys.path``. ``foreign``: third-party modules are
    loaded, which may register fork handlers.

    :meth:`prepared` sets the other fields. ``files`` and ``calls``: the Landlock rules and the seccomp filter
    of runs, None for no restriction. ``path``: search path of modules. ``sockets``: the sockets of a run, by
    descriptor.
    """

    isolated: bool
    capable: bool
    user: int
    separate: bool
    readable: Sequence[str]
    landlock: int
    seccomp: bool
    packages: Sequence[str]
    foreign: bool
    files: Rules | None = None
    calls: Filter | None = None
    path: Sequence[str] = ()
    ready: Ready | None = None
    sockets: Mapping[int, socket.socket] = field(default_factory=dict)

    def prepared(self) -> Place:
        """A copy with everything that all runs share. Also filters the calls of this process.

        Raises OSError.
        """
        from . import defining, harness

        files = calls = None
        if self.landlock:
            readable = ["/"] if self.isolated else [*self.readable, "/dev"]
            files = Rules(readable, ["/dev/null", "/dev/zero", "/dev/full"], self.landlock)
        if self.seccomp:
            syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
            Filter(seccomp.general()).install()
            calls = Filter(seccomp.of_runs())
        path = [*(path for path in sys.path if path), *self.packages]
        if not self.foreign:
            defining.seed_beforehand(0)  # the default seed of runs
        sockets = {number: _socket_at(number) for number in (REPORT, ORDERS, ASKING)}
        return replace(self, files=files, calls=calls, path=path, ready=harness.Ready(), sockets=sockets)

    def fork(self) -> int:
        return os.fork() if self.foreign else syscalls.fork()


@dataclass(frozen=True, slots=True)
class Start:
    """What a run's first process needs to know.

    ``judged``: whether it is the judge. ``covered``: paths to put back over the run's own /tmp. ``entering``:
    the calls with which it comes into its place, ``confining``: those with which the judge gives up the rest,
    and ``parting``: those of the process of the program, which gives it up there where there is no judge.
    """

    limits: Limits
    judged: bool
    covered: Sequence[str]
    entering: Prepared
    confining: Prepared
    parting: Prepared

    @classmethod
    def of(cls, limits: Limits, place: Place, *, judged: bool) -> Start:
        entering, confining, parting = Prepared(), Prepared(), Prepared()
        entering.add("setsid", "setsid")
        for number, end in enumerate((STDIN, STDOUT, STDERR)):
            entering.add("dup2", "dup2", end, number)
        if place.capable:
            root.prepare_run(entering, limits.scratch_mib, place.user)
        elif not place.isolated:
            _end_with_parent(entering)
        parting.add("setsid", "setsid")
        if judged:
            # The program's process can neither look into it nor trace it.
            confining.prctl("not dumpable", syscalls.PR_SET_DUMPABLE, 0)
            confine(confining, _bounds(limits, place, 1), place)
            if not place.isolated:
                _end_with_parent(parting)
        else:
            confine(parting, _bounds(limits, place, 0), place)
        parting.prctl("dumpable", syscalls.PR_SET_DUMPABLE, 1)
        covered = root.covered(place.packages) if place.capable else []
        return cls(limits, judged, covered, entering, confining, parting)


def begin(start: Start, place: Place, scratch: str) -> NoReturn:
    """Be the first process of a run. Its descriptors from :data:`REPORT` on are open.

    In a judged run it becomes the judge, and starts the program's process before it reads anything of the
    tests. In other runs it only waits for the program's process. So the program is never process 1 of a PID
    namespace, where signals behave differently.
    """
    try:
        held = root.hold(start.covered) if start.covered else {}
        start.entering.make()
        if held:
            root.put_back(held)
        os.chdir(scratch)
        if start.judged:
            start.confining.make()
            os.closerange(STDIN, _ALL)
        process = place.fork()
        if process == 0:
            start.parting.make()
    except BaseException as error:  # nothing of the program has run yet
        _tell({"lost": f"the run's first process: {type(error).__name__}: {error}"[:LONGEST]})
    if process:
        (_judge if start.judged else _wait)(process, place)
    (_answer if start.judged else _work)(place, scratch)


def _judge(process: int, place: Place) -> NoReturn:
    """Judge the program that runs in ``process``."""
    assert place.ready is not None
    try:
        os.close(ANSWERING)
        nothing = os.open("/dev/null", os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        # The judge must not import files that the program writes into its folder.
        sys.path[:] = place.path
        job, token = _job(place)
        place.ready.judge(job, process, place.sockets[ASKING], REPORT, token)
    except BaseException as error:
        _give_up(error)


def _answer(place: Place, scratch: str) -> NoReturn:
    """Load the program and answer the judge's requests."""
    assert place.ready is not None
    try:
        os.dup2(ANSWERING, REPORT, inheritable=False)
        os.closerange(ORDERS, _ALL)
        sys.path[:] = [scratch, *place.path]
        place.ready.answer(place.sockets[REPORT])
    finally:
        os._exit(111)


def _work(place: Place, scratch: str) -> NoReturn:
    """Run the program, and its tests if there are any, in this process."""
    from . import harness

    try:
        os.closerange(ASKING, _ALL)
        job, token = _job(place)
        if job["kind"] == "command":
            _become(job["argv"])
        sys.path[:] = [scratch, *place.path]
        harness.carry_out(job, REPORT, token)
    except BaseException as error:
        _give_up(error)


def _wait(process: int, place: Place) -> NoReturn:
    """Wait for the program's process and report its wait status."""
    os.closerange(0, ORDERS)
    os.closerange(ASKING, _ALL)
    _, status = os.waitpid(process, 0)
    _tell({"ended": status})


def _tell(what: Mapping[str, Any]) -> NoReturn:
    """Send a final message and exit."""
    os.write(ORDERS, f"{json.dumps(what)}\n".encode())
    os._exit(0)


def _job(place: Place) -> tuple[Mapping[str, Any], str]:
    """Receive the job and the token of its report, and write the job's files."""
    orders = place.sockets[ORDERS]
    token = exactly(orders, TOKEN).decode()
    job = receive(orders)
    os.close(ORDERS)
    _write_files(job["files"])
    return job, token


def _give_up(error: BaseException) -> NoReturn:
    os.write(2, f"the sandbox could not start the run: {type(error).__name__}: {error}\n".encode())
    os._exit(111)


def _socket_at(number: int) -> socket.socket:
    """For a socket that a run will have at this descriptor: to make one takes more there than to use it."""
    one, other = socket.socketpair()
    with one, other:
        os.dup2(one.fileno(), number)
    return socket.socket(one.family, one.type, one.proto, number)


def confine(calls: Prepared, bounds: Sequence[tuple[int, tuple[int, int]]], place: Place) -> None:
    """Limits, no privileges, no files but its own and those of the folder that it is in, few system calls;
    none of it can be undone.
    """
    calls.add("umask", "umask", 0o077)
    for name, bound in bounds:
        calls.add("setrlimit", "setrlimit", name, struct.pack("=QQ", *(min(value, _MOST) for value in bound)))
    _first_to_end(calls)
    if place.separate:
        calls.add("setresgid", "setresgid", place.user, place.user, place.user)
        calls.add("setresuid", "setresuid", place.user, place.user, place.user)
    calls.drop_capabilities()
    if not place.isolated:
        _end_with_parent(calls)  # after the change of user, which undoes it
    calls.prctl("no new privileges", syscalls.PR_SET_NO_NEW_PRIVS, 1)
    if place.files is not None:
        place.files.prepare(calls)
    if place.calls is not None:
        place.calls.prepare(calls)


def _end_with_parent(calls: Prepared) -> None:
    calls.prctl("end with the parent", syscalls.PR_SET_PDEATHSIG, namespaces.KILL_SIGNAL)


def set_environment(scratch: str) -> None:
    """Replace the environment by seven variables, none of them the user's."""
    paths = dict.fromkeys([os.path.dirname(sys.executable), "/usr/local/bin", "/usr/bin", "/bin"])
    os.environ.clear()
    os.environ.update({**ENVIRONMENT, "HOME": scratch, "TMPDIR": scratch, "PATH": ":".join(paths)})


def _first_to_end(calls: Prepared) -> None:
    """If memory is short, let the kernel kill the run rather than the process that waits for it."""
    what, descriptor, score = "oom_score_adj", ctypes.c_long(), b"1000"
    path, flags = b"/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC
    calls.add(what, "open", path, flags, into=descriptor, needed=False)
    calls.add(what, "write", descriptor, score, len(score), needed=False)
    calls.add(what, "close", descriptor, needed=False)


def _bounds(limits: Limits, place: Place, judges: int) -> list[tuple[int, tuple[int, int]]]:
    cpu = math.ceil(limits.cpu_seconds)
    found = {
        resource.RLIMIT_AS: limits.memory_mib * MIB,
        resource.RLIMIT_FSIZE: limits.file_mib * MIB,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_STACK: 8 * MIB,
        resource.RLIMIT_SIGPENDING: 4 * KIB,
    }
    if place.isolated:
        # Counted per user namespace since Linux 5.14. Three are ours: launcher, zygote and first process.
        found[resource.RLIMIT_NPROC] = limits.processes + (judges if place.separate else 3)
    both = [(name, (math.ceil(value), math.ceil(value))) for name, value in found.items()]
    return [*both, (resource.RLIMIT_CPU, (cpu, cpu + 1))]


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
