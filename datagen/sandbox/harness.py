"""Carries a job out in the worker and reports once at the end: as the judge of another process, or around the program.

Around it, it shares a process with untrusted code. What it reports then counts only with the run's token and from the
process that began, so an early exit or a fork proves nothing; see docs/sandbox.md for what this does not stop.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import gc
import json
import linecache
import os
import random
import signal
import socket
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from . import comparing, counting, doctests, judging, subject, unit_tests
from .judge import Judge

PROGRAM = "<program>"
SHOWN = 400
MOST_TESTS = 1000


@dataclass(slots=True)
class Report:
    """``tests``: (name, passed, message) of each test that ran. ``lines``: how many the program executed,
    where that was asked for."""

    tests: list[tuple[str, bool, str]] = field(default_factory=list)
    status: str | None = None
    message: str = ""
    lines: int | None = None
    program_operators: tuple[str, ...] = ()

    def note(self, name: str, error: BaseException | str | None) -> None:
        """A test's end. Running out of memory ends the run: what follows would tell nothing."""
        if isinstance(error, MemoryError):
            raise error
        text = describe(error) if isinstance(error, BaseException) else error
        self.tests.append((name, error is None, "" if text is None else text[:SHOWN]))

    def end(self, status: str, message: str) -> None:
        self.status, self.message = status, message[:SHOWN]

    def count(self, lines: int, why: str | None) -> None:
        """How many lines the program executed; ``why``: what makes that no count."""
        if why is None:
            self.lines = lines
        elif self.status is None:
            self.end("error", f"the program has no cost: {why}")

    def summed_up(self) -> dict[str, Any]:
        failed = [test for test in self.tests if not test[1]]
        if self.status is None and not self.tests:
            self.end("error", "there is no test in the tests")
        elif self.status is None and failed:
            more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            self.end("failed", f"{failed[0][0]}: {failed[0][2]}{more}")
        return {
            "status": self.status or "passed",
            "message": self.message,
            "tests": [*failed, *(test for test in self.tests if test[1])][:MOST_TESTS]
            if len(self.tests) > MOST_TESTS
            else self.tests,
            "lines": self.lines,
            "program_operators": self.program_operators,
        }


def carry_out(job: Mapping[str, Any], channel: int, token: str) -> NoReturn:
    """Do the job, write the report to ``channel``, and end the process without any further cleaning up."""
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
        leave(0)  # the code under test forked, and this is its child coming home
    _flush(streams)
    text = encode({**report.summed_up(), "token": token}).encode()
    while text:
        text = text[write(channel, text) :]
    leave(0)


class Ready:
    """The two sides of a judged run, made beforehand by the process that runs are copies of."""

    def __init__(self) -> None:
        self._judge, self._subject = Judge(), subject.Subject()

    def judge(
        self, job: Mapping[str, Any], process: int, asking: socket.socket, channel: int, token: str
    ) -> NoReturn:
        """Do the job with the program in another process, end that, and write the report to ``channel``."""
        gc.disable()  # what the tests make is small, and gone with this process
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
        """Be the program's process, which the judge asks by this socket."""
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


#: Where ``random`` starts in the processes that run, unless they start it elsewhere; None for chance.
_seeded: int | None = None


def seed(number: int | None) -> None:
    """Start ``random`` there, and NumPy's numbers: both would go on where the waiting process is."""
    if number is not None and number == _seeded:
        return
    random.seed(number)
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed(number)


def seed_beforehand(number: int) -> None:
    """In the process that runs are copies of, where nothing starts ``random`` anew in each."""
    global _seeded
    random.seed(number)
    _seeded = number


def fresh_streams() -> None:
    """Standard streams over descriptors 0 to 2, whatever those will be. Nothing has been read from or written to them."""
    sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.argv = ["program.py"]


def module(name: str) -> dict[str, Any]:
    """The namespace of a new, importable module."""
    made = types.ModuleType(name)
    sys.modules[name] = made
    return vars(made)


def remember(source: str, name: str) -> None:
    """Let tracebacks and ``inspect.getsource`` find a text that is in no file."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)


#: How often what a run does is done beforehand: the interpreter makes code faster that it has run some times.
WARM_RUNS = 12
WARM = 'def f(x):\n    """\n    >>> f(1)\n    2\n    >>> f(2)\n    4\n    """\n    return x + 1\ndef g(x):\n    return [x, [x]]\n'


def warm() -> None:
    """Do once what every run does, in the process that runs are copies of: imports, caches, compiled patterns."""
    job = {
        "program": WARM,
        "tests": "assert f(1) == 2\nassert f(1) == 3\nassert g(1) == [1, [1]]\nassert len(g(2)) == 2\ndef test_f():\n    f()",
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
    """A judged run within this process, of which nothing stays."""
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
    """Until the kernel has ended a thread too: the next one would get a heap of its own, 64 MiB of each run's address
    space."""
    deadline = time.monotonic() + 1
    while os.path.exists(f"/proc/self/task/{thread}") and time.monotonic() < deadline:
        time.sleep(0.0005)


def _warm_subject(channel: Any) -> None:
    program = subject.Subject()
    program.channel = channel
    with contextlib.suppress(EOFError), channel:
        program.serve()


def define(source: str, name: str = "program", filename: str = PROGRAM) -> dict[str, Any]:
    """Run a program's top level; what it defines. Raises what it raises."""
    remember(source, filename)
    space = module(name)
    exec(compile(source, filename, "exec", dont_inherit=True), space)
    return space


def describe(error: BaseException) -> str:
    """An exception as one line, whatever its own methods do."""
    try:
        text = str(error)
    except BaseException:
        text = "(no text)"
    first = text.strip().splitlines()[0] if text.strip() else ""
    return f"{type(error).__name__}: {first}"[:SHOWN] if first else type(error).__name__


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
