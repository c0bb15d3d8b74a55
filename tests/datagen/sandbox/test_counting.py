"""Counts of executed lines: reproducible, proportional to the work, and rejected when incomplete."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gristmill.datagen.sandbox.jobs import RunTests
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.datagen.sandbox.results import JobResult, Status

LOOP = "def f(n):\n    total = 0\n    for i in range(n):\n        total += i\n    return total\n"


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(Limits(wall_seconds=300, cpu_seconds=2, memory_mib=256), workers=1) as sandbox:
        yield sandbox


def counted(box: Sandbox, program: str, tests: str) -> JobResult:
    return box.run_now(RunTests(program, tests, count_lines=True))


def test_the_count_is_the_lines_that_run(box: Sandbox) -> None:
    """The `def` (1), the first line, the loop's head once more than its body, the body, the return."""
    for n in (0, 1, 50):
        result = counted(box, LOOP, f"assert f({n}) == {sum(range(n))}")
        assert (result.status, result.lines) == (Status.PASSED, 1 + 1 + (n + 1) + n + 1)


def test_the_tests_own_lines_do_not_count(box: Sandbox) -> None:
    long = "def test_f():\n    for i in range(300):\n        pass\n    assert f(3) == 3\n"
    assert counted(box, LOOP, long).lines == counted(box, LOOP, "assert f(3) == 3").lines


@pytest.mark.parametrize(
    "program",
    [
        "def f(n): return [i for i in range(n) for j in range(n)]",
        "def f(n): return sum(1 for i in range(n) for j in range(n))",
        "def f(n):\n    exec('for i in range(n):\\n    for j in range(n):\\n        pass', {'n': n})",
    ],
)
def test_work_on_one_line_and_in_exec_counts(box: Sandbox, program: str) -> None:
    small, large = (counted(box, program, f"assert f({n}) != 0").lines for n in (5, 20))
    assert small is not None
    assert large is not None
    assert large > 8 * small


def test_a_count_that_was_switched_off_is_no_count(box: Sandbox) -> None:
    result = counted(box, f"import sys\nsys.settrace(None)\n{LOOP}", "assert f(3) == 3")
    assert (result.status, result.lines) == (Status.ERROR, None)
    assert "switched off" in result.message


def test_nothing_is_counted_unasked_nor_without_an_end(box: Sandbox) -> None:
    assert box.run_now(RunTests(LOOP, "assert f(3) == 3")).lines is None
    assert counted(box, "while True: pass", "assert True").lines is None
    failed = counted(box, LOOP, "assert f(3) == 4")
    assert failed.status is Status.FAILED


WORK = "for i in range(500):\n    i\n"
SAYING = {
    "another file": "'lib.py'",
    "the standard library": "__import__('bisect').__file__",
    "a frozen module": "'<frozen os>'",
    "the tests": "'<tests>'",
    "the sandbox": "__import__('sandbox.peer').peer.__file__",
}


@pytest.mark.parametrize("name", SAYING)
def test_code_counts_whatever_file_it_says_it_is_from(box: Sandbox, name: str) -> None:
    program = f"def f(n):\n    exec(compile({WORK!r}, {SAYING[name]}, 'exec'), {{}})\n    return n"
    result = counted(box, program, "assert f(3) == 3")
    assert result.status is Status.PASSED, result
    assert result.lines is not None
    assert result.lines > 1000


def test_a_module_that_the_program_writes_counts_and_the_library_does_not(box: Sandbox) -> None:
    written = f"open('mine.py', 'w').write({WORK!r})\nimport mine\n{LOOP}"
    library = (
        "import statistics, textwrap, dataclasses, collections\ndef f(n):\n    textwrap.dedent(' "
        "a')\n    return int(statistics.mean([n, n]))"
    )
    many, few = (counted(box, program, "assert f(3) == 3").lines for program in (written, library))
    assert many is not None
    assert few is not None
    assert many > 1000 > 10 > few


REACHING = {
    "settrace": "import sys\n    sys.settrace(None)",
    "a frame": "import sys\n    sys._getframe().f_trace_lines = False",
    "a frame by inspect": "import inspect\n    inspect.currentframe().f_trace_lines = False",
    "a frame of a traceback": "try:\n        1 / 0\n    except ArithmeticError as e:\n        "
    "e.__traceback__.tb_frame.f_trace_lines = False",
    "a frame by traceback": "import traceback\n    try:\n        1 / 0\n    except ArithmeticError as e: "
    "list(traceback.walk_tb(e.__traceback__))[0][0].f_trace_lines = False",
    "a frame of a generator": "g = (i for i in 'ab')\n    g.gi_frame.f_trace_lines = False",
    "code made by hand": "f.__code__ = f.__code__.replace(co_filename='lib.py')",
    "the collector": "import gc\n    gc.get_objects()",
    "the C library": "import ctypes\n    ctypes.pythonapi.PyEval_SetTrace(None, None)",
    "another thread": "import _thread, time\n    _thread.start_new_thread(print, ())\n    time.sleep(0.05)",
    "threads unseen": "import threading\n    threading.settrace(None)\n    t = "
    "threading.Thread(target=print)\n    t.start()\n    t.join()",
    "another process": "import os\n    if os.fork() == 0: os._exit(0)\n    os.wait()",
}


@pytest.mark.parametrize("name", REACHING)
def test_a_program_that_reaches_for_its_count_has_none(box: Sandbox, name: str) -> None:
    result = counted(box, f"def f(n):\n    {REACHING[name]}\n    return n", "assert f(3) == 3")
    assert (result.status, result.lines) == (Status.ERROR, None), result
    assert "the program has no cost: " in result.message


def test_what_programs_do_with_tracebacks_threads_and_logs_is_no_reaching(box: Sandbox) -> None:
    program = (
        "import logging, threading, traceback\nfrom enum import Enum\nfrom collections import namedtuple\n"
        "P = namedtuple('P', 'x')\nclass E(Enum):\n    A = 1\ndef work():\n    for i in "
        "range(500):\n        i\n"
        "def f(n):\n    try:\n        1 / 0\n    except ArithmeticError:\n        "
        "traceback.format_exc()\n    logging.info('x')\n"
        "    t = threading.Thread(target=work)\n    t.start()\n    t.join()\n    return P(n).x\n"
    )
    result = counted(box, program, "assert f(3) == 3")
    assert result.status is Status.PASSED, result
    assert result.lines is not None
    assert result.lines > 1000
