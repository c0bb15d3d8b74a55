"""Injected bugs: tests fail before and pass after, checked independently; diffs apply; texts match."""

from __future__ import annotations

import asyncio
import inspect
import statistics
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from gristmill.contracts.outcomes import Failed, Filtered, Kept
from gristmill.contracts.rows import CodeEdit, messages_of
from gristmill.datagen.edits.bug_instructions import STYLES, TEMPLATES, instructions
from gristmill.datagen.edits.diffs import applied
from gristmill.datagen.edits.doctest_tests import tests_from_doctests as from_doctests
from gristmill.datagen.execution.sandboxes import SandboxSettings
from gristmill.datagen.generate.bugs import InjectBugs
from gristmill.datagen.sandbox.jobs import RunTests
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.datagen.sandbox.results import Status

BOX = SandboxSettings(wall_seconds=300, cpu_seconds=2)
CLAMP = '''def clamp(value, low, high):
    """Keep a value within bounds.

    >>> clamp(5, 0, 10)
    5
    >>> clamp(-1, 0, 10)
    0
    >>> clamp(11, 0, 10)
    10
    """
    # the order of these two does not matter
    if value < low:
        return low
    return min(value,   high)
'''


class Here:
    seed, step = 17, "edits"


def made(operator: InjectBugs, *rows: dict[str, Any]) -> list[list[Any]]:
    return asyncio.run(operator.open(Here())([{"_id": f"r{n}", **row} for n, row in enumerate(rows)]))  # type: ignore[arg-type]


def test_edits_of_a_function_with_doctests() -> None:
    operator = InjectBugs(sandbox=BOX, bugs=4)
    [outcomes] = made(operator, {"source": CLAMP})
    assert len(outcomes) == 4
    assert all(isinstance(outcome, Kept) for outcome in outcomes)
    rows = [outcome.row for outcome in outcomes]
    assert len({row["before"] for row in rows}) == 4
    assert len({row["bug"] for row in rows}) >= 3
    with Sandbox(workers=2) as box:
        for number, row in enumerate(rows):
            assert box.run_now(RunTests(row["before"], row["tests"])).status is Status.FAILED
            assert box.run_now(RunTests(row["after"], row["tests"])).passed
            assert applied(row["diff"], row["before"]) == row["after"] == CLAMP
            assert sum(line.startswith("+") for line in row["diff"].splitlines()) <= 3
            assert "# the order" in row["before"], "what is not changed is as it was written"
            assert row["item"] == number
            assert set(row["instructions"]) == set(STYLES)
            assert row["style"] in STYLES
            assert row["function"] == "clamp"
            assert "clamp" in row["reason"]
            assert 0 < row["mutation_score"] <= 1
            for name, kind in operator.types().items():
                pa.array([row[name]], type=kind)
            edit = CodeEdit.model_validate(row)
            assert messages_of(row) == edit.messages()
            assert edit.messages()[0]["content"].startswith(row["instructions"][row["style"]])
    assert made(operator, {"source": CLAMP}) == [outcomes], "the same again"


def test_real_functions_in_their_module() -> None:
    """Functions of the standard library, whose doctests call others of their module."""
    module = inspect.getsource(statistics)
    rows = [
        {"source": inspect.getsource(f), "module": module} for f in (statistics.median_low, statistics.median)
    ]
    found = made(InjectBugs(sandbox=BOX, prelude="module", tries=6, bugs=2), *rows)
    edits = [outcome.row for outcomes in found for outcome in outcomes if isinstance(outcome, Kept)]
    assert len(edits) >= 3
    assert {edit["function"] for edit in edits} == {"median_low", "median"}


def test_unit_tests_of_a_column_and_chosen_kinds() -> None:
    row = {"source": "def f(a, b):\n    return a - b\n", "checks": "assert f(3, 1) == 2"}
    [outcomes] = made(InjectBugs(sandbox=BOX, tests="checks", kinds=("arithmetic",)), row)
    assert [outcome.row["before"] for outcome in outcomes] == ["def f(a, b):\n    return a + b\n"]
    assert outcomes[0].row["tests"] == row["checks"]


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("def f(x):\n    return x\n", "no_tests"),
        ('def f(x):\n    """\n    >>> f(1)\n    2\n    """\n    return x\n', "tests_fail"),
        (
            'def f(x):\n    """\n    >>> f(1) is None\n    False\n    """\n    return x + 1\n',
            "no_bug",
        ),
        ("def f(x:\n", "no_tests"),
    ],
)
def test_rows_that_give_no_edit(source: str, rule: str) -> None:
    [[outcome]] = made(InjectBugs(sandbox=BOX, kinds=("arithmetic",)), {"source": source})
    assert isinstance(outcome, Filtered)
    assert outcome.rule == rule


def test_rows_without_code_fail_and_unknown_kinds_are_refused() -> None:
    [[outcome]] = made(InjectBugs(sandbox=BOX), {"code": "x"})
    assert isinstance(outcome, Failed)
    with pytest.raises(ValidationError, match="unknown kind of bug 'typo'; known: arithmetic"):
        InjectBugs(kinds=("typo",))


def test_tests_from_doctests() -> None:
    program = (
        'class A:\n    """\n    >>> A().f(2)\n    3\n    """\n    def f(self, x):\n        """\n'
        "        >>> for i in (1, 2):\n        ...     print(A().f(i))\n        2\n        3\n"
        "        >>> A().f('')\n        Traceback (most recent call last):\n        TypeError: can "
        'only concatenate str (not "int") to str\n'
        '        """\n        return x + 1\n'
    )
    tests = from_doctests(program)
    assert tests is not None
    with Sandbox(workers=1) as box:
        right = box.run_now(RunTests(program, tests))
        assert right.passed
        assert [test.name for test in right.tests] == ["test_A", "test_A_f"]
        bare = program.replace('"""', "'''", 2).replace("x + 1", "x + 2")
        wrong = box.run_now(RunTests(bare, tests))
        assert wrong.failed_tests == ("test_A", "test_A_f")
        assert wrong.tests[0].message == "AssertionError: A().f(2) Expected: 3 Got: 4"
    with Sandbox(workers=1) as box:
        broken = box.run_now(RunTests(bare.replace("x + 2", "y"), tests))
    assert broken.tests[0].message == "AssertionError: A().f(2) raised NameError: name 'y' is not defined"
    assert from_doctests("def f(): pass") is None
    assert from_doctests("def f(:") is None


def test_instructions_say_what_they_are_given() -> None:
    for seed in range(30):
        said = instructions(
            "area", 7, "uses `-` for `+`", "AssertionError: area(2)\nExpected: 4 Got: 0.", seed
        )
        assert tuple(said) == STYLES
        assert said == instructions(
            "area", 7, "uses `-` for `+`", "AssertionError: area(2)\nExpected: 4 Got: 0.", seed
        )
        assert "line 7" in said["detailed"].lower()
        assert "uses `-` for `+`" in said["detailed"]
        assert "area(2) Expected: 4 Got: 0" in said["human"]
        assert not any("{" in text or "uses `-`" in text for text in (said["human"], said["conversational"]))
    assert len({instructions("f", 1, "m", "s", seed)["human"] for seed in range(30)}) == len(
        TEMPLATES["human"]
    )


def test_examples_that_import_the_function_are_tests_of_the_one_given() -> None:
    """They would load the installed version, which the mutation does not change."""
    code = '''def dedent(text):
    """
    >>> from textwrap import dedent
    >>> from textwrap import dedent, indent
    >>> dedent("  a"), indent("b", " ")
    ('  a', ' b')
    """
    return text
'''
    tests = from_doctests(code)
    assert tests is not None
    assert "import dedent" not in tests
    with Sandbox(workers=1) as box:
        assert box.run_now(RunTests(code, tests)).passed
    assert from_doctests('def f():\n    """\n    >>> from a import f\n    """\n') is None


def test_a_bug_that_shows_by_chance_is_left_out() -> None:
    """One mutant of the constant adds a random choice: its runs differ, so no run could confirm it."""
    code = "import os\n\n\ndef pick(n):\n    return n + 0 * (os.urandom(1)[0] % 2)\n"
    row = {"source": code, "checks": "assert pick(3) == 3\nassert pick(5) == 5"}
    [outcomes] = made(InjectBugs(tests="checks", kinds=("constant",), bugs=12, repeats=12), row)
    for outcome in outcomes:
        assert "+ 1 * (os" not in outcome.row.get("before", "")
        assert not any("+ 1 * (os" in diff for diff in outcome.row.get("mutant_diffs", []))
