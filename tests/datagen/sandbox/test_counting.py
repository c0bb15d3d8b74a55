"""Executed lines: a count that repeats exactly, that follows the work done, and that says when it was cut short."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gristmill.datagen.sandbox.jobs import RunTests
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.datagen.sandbox.results import Result, Status

LOOP = "def f(n):\n    total = 0\n    for i in range(n):\n        total += i\n    return total\n"


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(Limits(wall_seconds=10, cpu_seconds=1, memory_mib=256), workers=1) as sandbox:
        yield sandbox


def counted(box: Sandbox, program: str, tests: str) -> Result:
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
