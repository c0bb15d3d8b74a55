"""Results of the sandbox: every field has the right type and a bounded size, whatever a run reports."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.datagen.sandbox.jobs import RunDoctests, RunScript, RunTests
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.sandbox.messages import encoded, receive
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.datagen.sandbox.results import LONGEST_TEXT, MOST_TESTS, JobResult, Status

LIMITS = Limits(wall_seconds=300, cpu_seconds=5, memory_mib=512, output_kib=64)
TOLD: dict[str, Any] = {
    "status": "failed",
    "message": "test_a: AssertionError",
    "tests": [["test_a", False, "AssertionError"], ["test_b", True, ""]],
    "stdout": "out",
    "stderr": "err",
    "seconds": 0.25,
    "cpu_seconds": 0.125,
    "lines": 17,
    "program_operators": ["Vector.__eq__"],
    "shared_process": False,
}
SCHEMA = pa.schema(
    {
        "status": pa.string(), "message": pa.string(), "stdout": pa.string(), "stderr": pa.string(),
        "seconds": pa.float64(), "cpu_seconds": pa.float64(), "lines": pa.int64(),
        "failed_tests": pa.list_(pa.string()), "program_operators": pa.list_(pa.string()),
        "shared_process": pa.bool_(),
    }
)  # fmt: skip


def fits(result: JobResult) -> None:
    """Check that a result is small and can be stored in columns and as JSON in UTF-8."""
    row = {name: getattr(result, name) for name in SCHEMA.names}
    table = pa.Table.from_pylist([row], SCHEMA)
    table.validate(full=True)
    json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
    assert max(len(result.tests), len(result.program_operators)) <= MOST_TESTS
    for text in (result.message, *(text for test in result.tests for text in (test.name, test.message))):
        assert len(text) <= LONGEST_TEXT
    assert max(len(result.stdout), len(result.stderr)) <= LIMITS.output_kib * 1024


def test_what_is_as_it_must_be_is_taken_as_it_is() -> None:
    result = JobResult.from_dict(TOLD, LIMITS)
    assert (result.status, result.message, result.failed_tests) == (
        Status.FAILED,
        TOLD["message"],
        ("test_a",),
    )
    assert (result.stdout, result.stderr, result.seconds, result.cpu_seconds) == ("out", "err", 0.25, 0.125)
    assert (result.lines, result.tests[1].passed, result.unexplained) == (17, True, False)
    assert (result.program_operators, result.shared_process) == (("Vector.__eq__",), False)
    assert JobResult.from_dict({**TOLD, "shared_process": "no"}, LIMITS).shared_process, (
        "the weaker kind, unless it says otherwise"
    )
    assert JobResult.from_dict({"status": "killed", "message": "x", "unexplained": True}, LIMITS).unexplained
    fits(result)


FORGED = {
    "lines that are no integer": {"lines": 1e300},
    "more lines than int64 holds": {"lines": 2**63},
    "more than any float holds": {"lines": 10**400},
    "fewer than none": {"lines": -1},
    "lines that are true": {"lines": True},
    "lines that are text": {"lines": "17"},
    "lines that are no number": {"lines": float("nan")},
    "a status of its own": {"status": "perfect"},
    "a status that only we give": {"status": "refused"},
    "a status that is a list": {"status": ["passed"]},
    "no status": {"status": None},
    "a message that is a number": {"message": 7},
    "tests that are a number": {"tests": 7},
    "tests that are text": {"tests": "abc"},
    "a test of two fields": {"tests": [["test_a", False]]},
    "a test that is a number": {"tests": [7]},
    "a verdict that is only true enough": {"tests": [["test_a", "no", ""]]},
    "a name that is a list": {"tests": [[["test_a"], False, ""]]},
    "operators that are text": {"program_operators": "abc"},
    "an operator that is a number": {"program_operators": [7]},
    "output that is a number": {"stdout": 7},
    "passed, and a test failed": {"status": "passed"},
    "seconds without end": {"seconds": float("inf")},
    "seconds that are none": {"cpu_seconds": float("nan")},
    "seconds before the start": {"seconds": -1.0},
    "seconds that are text": {"cpu_seconds": "1"},
    "seconds of many digits": {"seconds": 10**400},
}


@pytest.mark.parametrize("name", FORGED)
def test_a_field_that_is_not_what_it_must_be_makes_the_run_an_error(name: str) -> None:
    told = {**TOLD, **FORGED[name]}
    result = JobResult.from_dict(told, LIMITS)
    assert (result.status, result.tests, result.lines) == (Status.ERROR, (), None)
    assert result.message.startswith("the run's report is invalid: ")
    fits(result)


@pytest.mark.parametrize("told", [[], None, 7, "passed", {}])
def test_what_is_no_report_at_all_is_an_error(told: Any) -> None:
    assert JobResult.from_dict(told, LIMITS).status is Status.ERROR


def test_long_ones_are_cut() -> None:
    long = "x" * 3_000_000
    told = {
        **TOLD,
        "message": long,
        "tests": [[f"{number} {long[:1000]}", False, long[:1000]] for number in range(200_000)],
        "stdout": long,
        "stderr": long,
        "program_operators": [f"{number} {long[:1000]}" for number in range(2000)],
    }
    result = JobResult.from_dict(told, LIMITS)
    assert result.message == "x" * (LONGEST_TEXT - 1) + "…"
    assert len(result.tests) == MOST_TESTS
    assert result.tests[-1].name.startswith("999 xxx")
    assert len(result.stdout) == len(result.stderr) == 64 * 1024
    fits(result)


@pytest.mark.parametrize("field", ["message", "stdout", "stderr"])
def test_what_utf_8_has_no_form_for_is_escaped(field: str) -> None:
    result = JobResult.from_dict({**TOLD, field: "a\ud800b", "tests": [["t\udfff", False, "\ud83d"]]}, LIMITS)
    assert getattr(result, field) == "a\\ud800b"
    assert (result.tests[0].name, result.tests[0].message) == ("t\\udfff", "\\ud83d")
    fits(result)
    fits(JobResult.from_dict({**TOLD, field: "\ud800" * 200_000}, LIMITS))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*TOLD, "unexplained", "code", "lost"]), ANYTHING))
def test_anything_at_all_becomes_a_result_that_fits(told: dict[str, Any]) -> None:
    fits(JobResult.from_dict({**TOLD, **told}, LIMITS))
    fits(JobResult.from_dict(told, LIMITS))


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_a_message_arrives_as_it_was(pair: tuple[socket.socket, socket.socket]) -> None:
    for message in ({"message": "é 𝄞"}, {"lines": 1e300}, ["\x00"]):
        pair[0].sendall(encoded(message))
        assert receive(pair[1]) == message
    pair[0].close()
    with pytest.raises(EOFError):
        receive(pair[1])


def test_a_message_that_is_too_long_or_no_message_is_not_read(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    pair[0].sendall(encoded("x" * 1000))
    with pytest.raises(ValueError, match="a message has 1002 bytes, and the maximum is 100"):
        receive(pair[1], 100)
    with pytest.raises(ValueError, match="UTF-8"):
        encoded("\ud800")


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(LIMITS, workers=1) as sandbox:
        yield sandbox


MANY = "def test_a(): pass\nfor n in range(200_000):\n    globals()[f'test_{n}'] = test_a"
SURROGATE = "'half a character: \\ud800'"
DOCUMENTED = f'def f():\n    """\n    >>> f()\n    1\n    """\n    raise ValueError({SURROGATE})'
ODD = "class Odd(BaseException):\n    def __str__(self): return 7"
HOSTILE = {
    "an exception with half a character": RunTests("x = 1", f"assert x == 2, {SURROGATE}"),
    "raised while it is defined": RunTests(f"raise ValueError({SURROGATE})", "assert True"),
    "in a script": RunScript(f"raise ValueError({SURROGATE})"),
    "as the name of an exception": RunScript(f"raise type({SURROGATE}, (Exception,), {{}})()"),
    "as an exit code": RunScript(f"raise SystemExit({SURROGATE})"),
    "printed": RunScript(f"print({SURROGATE})"),
    "written as bytes": RunScript("import sys; sys.stdout.buffer.write(bytes(range(256)) * 10)"),
    "in a doctest": RunDoctests(DOCUMENTED),
    "a message of 3 MB": RunTests("x = 1", "assert x == 2, 'x' * 3_000_000"),
    "3 MB raised": RunTests("raise ValueError('x' * 3_000_000)", "assert True"),
    "200,000 tests": RunTests("", MANY),
    "a test's name of 1 MB": RunTests("", "globals()['test_' + 'x' * 1_000_000] = lambda: None"),
    "a verdict of its own": RunTests(ODD, "raise Odd()"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_program_gets_its_own_verdict_and_costs_nobody_else(box: Sandbox, name: str) -> None:
    [zygote] = box._zygotes
    fits(box.run_now(HOSTILE[name]))
    assert box.run_now(RunTests("def f(x): return x + 1", "assert f(1) == 2")).passed
    assert box._zygotes == [zygote], "no worker had to be started again"
