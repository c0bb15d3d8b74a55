"""Carries out a job inside the sandbox and reports once, at the end.

It runs in the judge, with the program in another process, or in the same process as the program. In the
latter case it shares a process with untrusted code. A report then counts only with the run's token and from
the process that started the job, so an early exit or a fork proves nothing. docs/sandbox.md says what this
does not prevent.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import gc
import json
import linecache
import os
import signal
import socket
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from . import comparing, counting, doctests, judging, subject, unit_tests
from .defining import PROGRAM, define, remember, seed
from .judge import Judge
from .reporting import Report, describe


def carry_out(job: Mapping[str, Any], channel: int, token: str) -> NoReturn:
    """Do the job, write the report to ``channel``, and exit without further cleanup."""
    me, getpid, leave = os.getpid(), os.getpid, os._exit
    write, encode, streams = os.write, json.dumps, (sys.stdout, sys.stderr)
    report = Report()
    seed(job["random_seed"])
    try:
        JOBS[job["kind"]](job, report)
    except MemoryError:
        report.end("memory", "raised MemoryError")
    except BaseException as error:
        report.end("error", describe(error))
    if getpid() != me:
        leave(0)  # this is a child that the code under test forked
    _flush(streams)
    text = encode({**report.summed_up(), "token": token}).encode()
    while text:
        text = text[write(channel, text) :]
    leave(0)


class Ready:
    """The two sides of a judged run, created in advance by the zygote."""

    def __init__(self) -> None:
        self._judge, self._subject = Judge(), subject.Subject()

    def judge(
        self, job: Mapping[str, Any], process: int, asking: socket.socket, channel: int, token: str
    ) -> NoReturn:
        """Do the job with the program in ``process``, end that process, and report to ``channel``."""
        gc.disable()  # the tests' objects are small and end with this process
        streams = (sys.stdout, sys.stderr)
        seed(job["random_seed"])
        self._judge.channel = asking
        report, ended = judging.judged(job, self._judge)
        if not ended:
            os.kill(process, signal.SIGKILL)
        status = os.waitpid(process, 0)[1]  # its processor time is counted with that of this one
        told = {"ended": status} if ended else report.summed_up()
        _flush(streams)
        text = json.dumps({**told, "token": token}).encode()
        while text:
            text = text[os.write(channel, text) :]
        os._exit(0)

    def answer(self, channel: socket.socket) -> NoReturn:
        """Be the program's process and serve the judge's requests on this socket."""
        leave = os._exit
        self._subject.channel = channel
        sys.modules.setdefault("program", types.ModuleType("program"))
        try:
            self._subject.serve()
        except (EOFError, OSError):
            leave(0)


def _flush(streams: tuple[Any, Any]) -> None:
    for stream in (*streams, sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            continue


def fresh_streams() -> None:
    """Open new standard streams on descriptors 0 to 2, with empty buffers."""
    sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.argv = ["program.py"]


#: Number of warm-up runs. The interpreter specializes code that it has run several times.
WARM_RUNS = 12
WARM = (
    'def f(x):\n    """\n    >>> f(1)\n    2\n    >>> f(2)\n    4\n    """\n    return x + 1\ndef '
    "g(x):\n    return [x, [x]]\n"
)


def warm() -> None:
    """Do in the zygote what every run does, to fill its imports, caches and compiled patterns."""
    job = {
        "program": WARM,
        "tests": "assert f(1) == 2\nassert f(1) == 3\nassert g(1) == [1, [1]]\nassert len(g(2)) == 2\ndef "
        "test_f():\n    f()",
        "prelude": "",
    }
    report = Report()
    _tests(job, report)
    _doctests(job, report)
    report.summed_up()
    for number in range(WARM_RUNS):
        _warm_conversation({**job, "kind": ("tests", "doctests")[number % 4 == 3]})
    for name in ("program", "solution", "tests"):
        sys.modules.pop(name, None)
    linecache.clearcache()


def _warm_conversation(job: Mapping[str, Any]) -> None:
    """Carry out a judged run in this process and undo its effects."""
    ours, theirs = socket.socketpair()
    held = warnings.filters[:], warnings.showwarning, doctest.OutputChecker.check_output
    thread = threading.Thread(target=_warm_subject, args=(theirs,))
    thread.start()
    judge = Judge()
    judge.channel = ours
    report, _ = judging.judged({**job, "random_seed": 0, "count_lines": False}, judge)
    json.loads(json.dumps(report.summed_up()))
    ours.close()
    thread.join()
    _until_gone(thread.native_id)
    filters: Any = warnings.filters
    filters[:], warnings.showwarning, doctest.OutputChecker.check_output = held  # type: ignore[method-assign]


def _until_gone(thread: int | None) -> None:
    """Wait until the kernel has ended a thread, which on a busy machine may take seconds.

    Otherwise the next thread would get a heap of its own, which takes 64 MiB of the address space of each
    run.
    """
    deadline = time.monotonic() + 60
    while os.path.exists(f"/proc/self/task/{thread}") and time.monotonic() < deadline:
        time.sleep(0.0005)


def _warm_subject(channel: Any) -> None:
    program = subject.Subject()
    program.channel = channel
    with contextlib.suppress(EOFError), channel:
        program.serve()


def _defined(source: str, report: Report, name: str = "program") -> dict[str, Any] | None:
    try:
        return define(source, name, f"<{name}>")
    except MemoryError:
        raise
    except BaseException as error:
        report.end("error", f"the {name} raised {describe(error)}")
        return None


def _tests(job: Mapping[str, Any], report: Report) -> None:
    if not job.get("count_lines"):
        _run_tests(job, report)
        return
    count = counting.LineCount(unit_tests.TESTS)
    count.start()
    _run_tests(job, report)
    report.count(*count.told())


def _run_tests(job: Mapping[str, Any], report: Report) -> None:
    space = _defined(job["program"], report)
    if space is not None:
        remember(job["tests"], unit_tests.TESTS)
        unit_tests.run(job["tests"], space, report.note, report.end)


def _doctests(job: Mapping[str, Any], report: Report) -> None:
    prelude = f"{job['prelude']}\n\n" if job["prelude"] else ""
    if _defined(prelude + job["program"], report) is not None:
        doctests.run(sys.modules["program"], report.note, report.end)


def _script(job: Mapping[str, Any], report: Report) -> None:
    try:
        define(job["program"], "__main__")
    except SystemExit as end:
        code = end.code
        if code not in (None, 0):
            report.end("failed", f"exit code {code if isinstance(code, int) else 1}")
            return
    except MemoryError:
        raise
    except BaseException as error:
        report.end("failed", describe(error))
        return
    report.end("passed", "")


def _compile(job: Mapping[str, Any], report: Report) -> None:
    try:
        ast.parse(job["program"])
        compile(job["program"], PROGRAM, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError) as error:
        report.end("failed", describe(error))
    else:
        report.end("passed", "")


def _compare(job: Mapping[str, Any], report: Report) -> None:
    spaces = [_defined(job[name], report, name) for name in ("reference", "program")]
    if spaces[0] is None or spaces[1] is None:
        return
    draw = define(job["inputs"], "inputs", "<inputs>")["inputs"] if job["inputs"] else None
    try:
        reference, program = spaces[0][job["function"]], spaces[1][job["function"]]
    except KeyError:
        report.end("error", f"no function {job['function']!r} is defined")
        return
    comparing.run(reference, program, draw, job["count"], job["seed"], report.note, report.end)


JOBS: dict[str, Callable[[Mapping[str, Any], Report], None]] = {
    "tests": _tests,
    "doctests": _doctests,
    "script": _script,
    "compile": _compile,
    "compare": _compare,
}
