"""Edits judged by running both sides: each verdict from real runs, and columns that a check can add."""

from __future__ import annotations

import asyncio
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.contracts.outcomes import Failed, Kept
from gristmill.datagen.edits.diffs import applied
from gristmill.datagen.execution.sandboxes import SandboxSettings
from gristmill.datagen.verify.edit import VerifyEdit, same_program

BOX = SandboxSettings(wall_seconds=300, cpu_seconds=5, memory_mib=192)
#: For programs that compute without end.
QUICK = BOX.model_copy(update={"cpu_seconds": 0.5})
BROKEN = "def larger(a, b):\n    # which is more\n    if a < b:\n        return a\n    return b\n"
RIGHT = BROKEN.replace("a < b", "a > b")
TESTS = "assert larger(1, 2) == 2\nassert larger(2, 1) == 2\nassert larger(-1, -2) == -1"
SLOW = (
    "def total(xs):\n    t = 0\n    for i in range(len(xs)):\n        t = 0\n        for x in xs[: i + "
    "1]:\n            t += x\n    return t\n"
)
FAST = "def total(xs):\n    t = 0\n    for x in xs:\n        t += x\n    return t\n"
TOTAL = "assert total([]) == 0\nassert total([1, 2, 3]) == 6\nassert total(list(range(20))) == 190"


class Here:
    seed, step = 17, "verified"


def judged(operator: VerifyEdit, *rows: dict[str, Any]) -> list[Any]:
    found = asyncio.run(operator.open(Here())([{"_id": f"r{n}", **row} for n, row in enumerate(rows)]))  # type: ignore[arg-type]
    assert [len(outcomes) for outcomes in found] == [1] * len(rows)
    columns = operator.types()
    for [outcome] in found:
        if isinstance(outcome, Kept):
            assert set(outcome.row) == set(columns)
            for name, kind in columns.items():
                pa.array([outcome.row[name]], type=kind)
    return [outcome.row if isinstance(outcome, Kept) else outcome for [outcome] in found]


def edit(before: str, after: str, tests: str = TESTS) -> dict[str, Any]:
    return {"before": before, "after": after, "tests": tests}


def test_a_fix_fails_before_and_passes_after() -> None:
    [row] = judged(VerifyEdit(sandbox=BOX, mutants=8, min_mutation_score=0.5), edit(BROKEN, RIGHT))
    assert (row["passed"], row["verdict"], row["kind"], row["reason"]) == (True, "passed", "fix", None)
    assert (row["before_passed"], row["after_passed"]) == (False, True)
    assert row["failed_tests"] == ["line 1", "line 2", "line 3"]
    assert row["symptom"].startswith("line 1: ")
    assert applied(row["diff"], BROKEN) == RIGHT
    assert (row["changed_lines"], row["changed_fraction"]) == (2, pytest.approx(1 / 5))
    assert row["mutants"] > 3
    assert row["mutation_score"] > 0.5


def test_an_improvement_passes_twice_and_does_less() -> None:
    better, same = judged(
        VerifyEdit(sandbox=BOX),
        edit(SLOW, FAST, TOTAL),
        edit(FAST, FAST.replace("t += x", "t = t + x"), TOTAL),
    )
    assert (better["passed"], better["kind"], better["before_passed"]) == (True, "improvement", True)
    assert better["cost_ratio"] < 0.5
    assert better["symptom"] is None
    assert (same["passed"], same["verdict"], same["cost_ratio"]) == (False, "not_needed", 1.0)
    [little] = judged(VerifyEdit(sandbox=BOX, min_gain=0.99), edit(SLOW, FAST, TOTAL))
    assert little["verdict"] == "not_needed"


@pytest.mark.parametrize(
    ("before", "after", "tests", "verdict", "reason"),
    [
        (RIGHT, RIGHT.replace("# which is more", "# the larger"), TESTS, "no_op", "only spaces and comments"),
        (RIGHT, RIGHT.replace("a > b", "(a  >  b)"), TESTS, "no_op", "only spaces and comments"),
        ("no ( python", "no ( python ", TESTS, "no_op", "only spaces and comments"),
        (BROKEN, "def larger(*xs):\n  return max(xs)\n", TESTS, "rewrite", "touches 100%"),
        (BROKEN, RIGHT.replace("return b", "return a"), TESTS, "failed", "after: line 1"),
        (BROKEN, RIGHT.replace("return b", "return b +"), TESTS, "error",
         "after: the program raised SyntaxError"),
        (BROKEN, RIGHT.replace("return b", "while 1: 1"), TESTS, "timeout", "after: used more than"),
        (RIGHT.replace("a > b", "a > b:"), RIGHT, TESTS, "error", "before: the program raised SyntaxError"),
        (BROKEN, RIGHT, "x = larger(1, 2)", "error", "after: there is no test"),
    ],
)  # fmt: skip
def test_verdicts(before: str, after: str, tests: str, verdict: str, reason: str) -> None:
    box = QUICK if verdict == "timeout" else BOX
    [row] = judged(VerifyEdit(sandbox=box, repeats=1), edit(before, after, tests))
    assert (row["passed"], row["verdict"]) == (False, verdict), row
    assert row["reason"].startswith(reason)
    assert row["kind"] is None


def test_a_hang_before_the_edit_is_a_fix() -> None:
    before = RIGHT.replace("    if a > b", "    while a == a: pass\n    if a > b")
    [row] = judged(VerifyEdit(sandbox=QUICK, repeats=1), edit(before, RIGHT))
    assert (row["passed"], row["kind"], row["before_passed"]) == (True, "fix", False)


def test_tests_that_mutants_pass_decide_nothing() -> None:
    operator = VerifyEdit(sandbox=BOX, mutants=8, min_mutation_score=0.9)
    weak = "assert larger(0, 3) == 3"
    before = RIGHT.replace("return b", "return None")
    [row] = judged(operator, edit(before, RIGHT, weak))
    assert (row["passed"], row["verdict"]) == (False, "vacuous")
    assert row["mutation_score"] < 0.9
    assert "mutants pass; one " in row["reason"]


def test_flaky_tests() -> None:
    tests = TESTS + "\nimport os\nassert os.urandom(1)[0] % 2"
    rows = judged(VerifyEdit(sandbox=BOX, repeats=7), *[edit(BROKEN, RIGHT, tests)] * 3)
    assert "flaky" in {row["verdict"] for row in rows}
    assert not any(row["passed"] for row in rows)


def test_prelude_and_other_columns_and_rows_without_them() -> None:
    row = {"old": "def f(x):\n    return g(x) + 1\n", "new": "def f(x):\n    return g(x)\n"}
    row |= {"head": "def g(x):\n    return -x\n", "checks": "assert f(2) == -2"}
    operator = VerifyEdit(before="old", after="new", tests="checks", prelude="head", mutants=4, sandbox=BOX)
    good, bad = judged(operator, row, {**row, "head": None})
    assert good["passed"]
    assert isinstance(bad, Failed)
    assert bad.error == "column 'head' holds NoneType; text is required"


def test_a_preludes_own_function_does_not_stand_in_for_one_that_is_gone() -> None:
    """The tests would pass on the module's function, and a program without it would seem cheap."""
    gone = {**edit("class Larger:\n    pass\n", RIGHT), "module": RIGHT}
    helped = {**edit("def helper():\n    pass\n\n\n" + BROKEN, RIGHT), "module": RIGHT}
    lost, kept = judged(VerifyEdit(sandbox=BOX, prelude="module", max_changed=1), gone, helped)
    assert (lost["verdict"], lost["passed"]) == ("renamed", False)
    assert "larger" in lost["reason"]
    assert kept["kind"] == "fix"


def test_the_same_again() -> None:
    rows = [edit(BROKEN, RIGHT), edit(SLOW, FAST, TOTAL), edit(RIGHT, BROKEN)]
    operator = VerifyEdit(sandbox=BOX, mutants=4, repeats=1)
    assert judged(operator, *rows) == judged(operator, *rows)


@settings(max_examples=20)
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=40))
def test_any_text_gets_a_verdict(before: str, after: str, tests: str) -> None:
    [row] = judged(VerifyEdit(sandbox=BOX, repeats=1), edit(before, after, tests))
    assert row["passed"] is False
    assert row["reason"]


def test_what_is_the_same_program() -> None:
    assert same_program("x = 1 # one", "x=1\n")
    assert not same_program("x = 1", "x = 2")
    assert not same_program('def f():\n    "a"', 'def f():\n    "b"'), "a docstring is a change"
    assert not same_program("x = (", "y = (")


def test_a_summary_counts_verdicts() -> None:
    assert VerifyEdit().summary(pa.table({"verdict": ["no_op", "passed", "no_op"]})) == {
        "no_op": 2,
        "passed": 1,
    }
