"""Wrong tests are removed from a suite, correct ones stay, and the remaining tests are run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gristmill.contracts.outcomes import Failed, Kept
from gristmill.datagen.execution.sandboxes import SandboxSettings
from gristmill.datagen.sandbox.jobs import RunTests
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.datagen.verify.sound_tests import VerifySoundTests, without

BOX = SandboxSettings(wall_seconds=300, cpu_seconds=5)
CODE = "def double(x):\n    return x * 2\n"


class Here:
    seed, step = 17, "sound"


def judged(tests: str, code: str = CODE, **more: Any) -> dict[str, Any]:
    operator = VerifySoundTests(sandbox=BOX, **more)
    row = {"_id": "r", "solution": code, "tests": tests}
    [[outcome]] = asyncio.run(operator.open(Here())([row]))  # type: ignore[arg-type]
    assert isinstance(outcome, Kept)
    assert set(outcome.row) == set(operator.types())
    return outcome.row


def test_wrong_asserts_go_and_right_ones_stay() -> None:
    tests = (
        "two = 2\nassert double(1) == two\nassert double(2) == 5  # wrong\nassert double(3) == "
        "6\nassert double(0) == 0\n"
    )
    row = judged(tests)
    assert row["tests"] == tests.replace("assert double(2) == 5  # wrong\n", "")
    assert (row["passed"], row["tests_kept"], row["tests_dropped"], row["reason"]) == (True, 3, 1, None)


def test_functions_methods_and_statements_of_several_lines() -> None:
    tests = (
        "assert double(\n    1\n) == 3\ndef test_a():\n    assert double(1) == 1\n\ndef test_b():\n  "
        "  assert double(1) == 2\n"
        "class TestC:\n    def test_d(self):\n        assert double(2) == 3\n\n    def "
        "test_e(self):\n        assert double(2) == 4\n"
    )
    row = judged(tests, min_tests=2)
    assert (row["passed"], row["tests_kept"], row["tests_dropped"]) == (True, 2, 3)
    assert "test_a" not in row["tests"]
    assert "test_d" not in row["tests"]
    with Sandbox(workers=1) as box:
        again = box.run_now(RunTests(CODE, row["tests"]))
    assert again.passed
    assert [test.name for test in again.tests] == ["test_b", "TestC.test_e"]


CLASS = "class Test{}:\n    def test_d(self):\n        assert double(2) == {}\n\n"
MARK = "@pytest.mark.parametrize('x', [{}, 2])\n"
PARAMETRIZED = MARK + "def test_{}(x):\n    assert double(x) in (2, 4)\n\n"


def test_a_class_without_a_right_test_goes_as_a_whole() -> None:
    nested = "class TestN:\n    class TestO:\n        def test_e(self):\n            assert not double(2)\n\n"
    right = CLASS.format("B", 4)
    row = judged(CLASS.format("A", 3) + nested + right, min_tests=1)
    assert (row["tests"].strip(), row["reason"]) == (right.strip(), None)
    assert (row["passed"], row["tests_kept"], row["tests_dropped"]) == (True, 1, 2)


def test_a_function_that_fails_with_some_parameters_goes_as_a_whole() -> None:
    right = PARAMETRIZED.format(1, "b")
    row = judged("import pytest\n\n" + PARAMETRIZED.format(7, "a") + right, min_tests=2)
    assert (row["tests"], row["reason"]) == ("import pytest\n\n\n" + right, None)
    assert (row["passed"], row["tests_kept"], row["tests_dropped"]) == (True, 2, 2)


def test_two_tests_in_a_line_go_together_and_the_next_line_stays() -> None:
    tests = "assert double(1) == 3; assert double(1) == 4\nassert double(2) == 4\n"
    row = judged(tests, min_tests=1)
    assert (row["tests"], row["passed"]) == ("assert double(2) == 4\n", True)


@pytest.mark.parametrize(
    ("tests", "code", "reason"),
    [
        ("assert double(1) == 1\nassert double(1) == 2", CODE, "1 of 2 tests pass"),
        ("assert double(1) == 2", "def double(", "error: the program raised SyntaxError"),
        ("assert double(1) == 2\nimport nothing_here", CODE, "error: line 2 of the tests raised"),
    ],
)
def test_too_few_sound_tests(tests: str, code: str, reason: str) -> None:
    row = judged(tests, code)
    assert row["passed"] is False
    assert row["tests"] == tests
    assert row["reason"].startswith(reason)


def test_tests_that_others_need_are_not_half_believed() -> None:
    """Another test uses the failing function, so the remaining tests do not pass without it."""
    row = judged(
        "def test_a():\n    assert double(1) == 1\ndef test_b():\n    assert double(2) == 4\n    "
        "assert callable(test_a)\n",
        min_tests=1,
    )
    assert row["passed"] is False
    assert "the remaining tests do not pass" in row["reason"]


def test_rows_without_text_fail_and_nothing_goes_by_a_wrong_name() -> None:
    [[outcome]] = asyncio.run(
        VerifySoundTests(sandbox=BOX).open(Here())([{"_id": "r", "solution": CODE}])  # type: ignore[arg-type]
    )
    assert isinstance(outcome, Failed)
    assert without("assert a\nassert b", ["line 9"]) == "assert a\nassert b"
