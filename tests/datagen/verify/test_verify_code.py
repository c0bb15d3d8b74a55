"""Verification by execution: each verdict from real runs; hostile code affects only its own row."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.contracts.outcomes import Failed, Kept
from gristmill.datagen.execution.sandboxes import SandboxSettings
from gristmill.datagen.verify.compiles import VerifyCompiles
from gristmill.datagen.verify.doctests import VerifyDoctests
from gristmill.datagen.verify.reference import VerifyReference
from gristmill.datagen.verify.stdio import VerifyStdio
from gristmill.datagen.verify.tests import VerifyTests
from gristmill.datagen.verify.verify_code import VerifyCode

BOX = SandboxSettings(wall_seconds=300, cpu_seconds=5, memory_mib=192, output_kib=32)
#: For a program that computes without end, and for one that waits.
QUICK, BRIEF = (BOX.model_copy(update=limit) for limit in ({"cpu_seconds": 0.5}, {"wall_seconds": 2.0}))
GOOD = "def double(x):\n    return x * 2\n"
TESTS = "assert double(2) == 4\nassert double(0) == 0\nassert double(-3) == -6"


class Here:
    """The context that these operators require."""

    seed, step = 17, "checked"


def verified(operator: VerifyCode, *rows: dict[str, Any]) -> list[Any]:
    numbered = [{"_id": f"r{n}", **row} for n, row in enumerate(rows)]
    found = asyncio.run(operator.open(Here())(numbered))  # type: ignore[arg-type]
    assert [len(outcomes) for outcomes in found] == [1] * len(rows)
    return [outcome for [outcome] in found]


def kept(operator: VerifyCode, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    outcomes = verified(operator, *rows)
    assert all(isinstance(outcome, Kept) for outcome in outcomes), outcomes
    columns = operator.types()
    for outcome in outcomes:
        assert set(outcome.row) == set(columns)
        for name, kind in columns.items():
            pa.array([outcome.row[name]], type=kind)
    return [outcome.row for outcome in outcomes]


@pytest.mark.parametrize(
    ("program", "verdict", "reason"),
    [
        (GOOD, "passed", None),
        ("def double(x): return x + 2", "failed", "line 2: AssertionError: double(0) == 0 (and 1 more)"),
        ("def double(x): return y", "failed", "line 1: NameError: name 'y' is not defined (and 2 more)"),
        ("def triple(x): return x", "failed", "line 1: NameError: name 'double' is not defined (and 2 more)"),
        ("def double(x) return", "error", "the program raised SyntaxError: expected ':' (<program>, line 1)"),
        ("import nothing_like_this", "error",
         "the program raised ModuleNotFoundError: No module named 'nothing_like_this'"),
        ("while True: pass", "timeout", "used more than 0.5 s of processor time"),
        ("x = bytearray(10**9)", "memory", "raised MemoryError"),
        ("import os; os.abort()", "killed", "ended by SIGABRT"),
        ("while True: print('x' * 999)", "killed", "wrote more than 32 KiB to its stdout"),
        ("import os; os._exit(0)", "error", "exited with code 0 before the end"),
        ("\ud800", "refused", "the job cannot be sent into the sandbox"),
        ("\0", "error", "the program raised"),
    ],
)  # fmt: skip
def test_verdicts(program: str, verdict: str, reason: str | None) -> None:
    box = QUICK if verdict == "timeout" else BOX
    [row] = kept(VerifyTests(sandbox=box), {"solution": program, "tests": TESTS})
    assert row["verdict"] == verdict, row
    assert row["passed"] is (verdict == "passed")
    assert (row["reason"] is None) if reason is None else row["reason"].startswith(reason)


def test_a_program_that_waits_for_ever() -> None:
    [row] = kept(VerifyTests(sandbox=BRIEF), {"solution": "import time; time.sleep(60)", "tests": TESTS})
    assert (row["verdict"], row["passed"], row["reason"]) == ("timeout", False, "not done in 2 s")


def test_the_module_that_a_function_comes_from() -> None:
    row = {
        "solution": "def area(r): return PI * r ** 2",
        "tests": "assert area(1) == 3\nassert area(2) == 12",
    }
    module = "PI = 3\ndef area(r): raise NotImplementedError"
    [alone, inside] = kept(VerifyTests(sandbox=BOX), row) + kept(
        VerifyTests(sandbox=BOX, prelude="module", mutants=4), {**row, "module": module}
    )
    assert (alone["passed"], inside["passed"]) == (False, True)
    assert inside["mutation_score"] == 1.0, "the function is mutated, not its module"


def test_which_tests_failed_and_how_many_passed() -> None:
    tests = (
        "assert double(1) == 2\n\ndef test_half():\n    assert double(1) == 1\n\nclass TestMore:\n"
        "    def test_zero(self):\n        assert double(0) == 0\n"
        "import unittest\nclass Case(unittest.TestCase):\n    def test_equal(self):\n        "
        "self.assertEqual(double(1), 3)\n"
        "async def test_later():\n    assert double(1) == 5\n"
    )
    [row] = kept(VerifyTests(sandbox=BOX), {"solution": GOOD, "tests": tests})
    assert row["failed_tests"] == ["test_half", "Case.test_equal", "test_later"]
    assert row["passed_fraction"] == pytest.approx(2 / 5)


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        ("", "there is no test"),
        ("x = double(2)", "there is no test"),
        ("def test_a(:", "the tests do not parse"),
        ("import nothing_like_this\nassert True", "line 1 of the tests raised ModuleNotFoundError"),
        ("if __name__ == '__main__':\n    assert False", "there is no test"),
    ],
)
def test_tests_that_test_nothing_are_an_error(tests: str, reason: str) -> None:
    [row] = kept(VerifyTests(sandbox=BOX), {"solution": GOOD, "tests": tests})
    assert (row["verdict"], row["passed_fraction"]) == ("error", 0.0)
    assert reason in row["reason"]


def test_parametrized_tests() -> None:
    tests = (
        "import pytest\n@pytest.mark.parametrize('x, y', [(1, 2), (2, 5)])\ndef test_all(x, y):\n    "
        "assert double(x) == y\n"
        "@pytest.mark.parametrize('z', [1, pytest.param(2)])\ndef test_one(z):\n"
        "    with pytest.raises(TypeError):\n        double(z, z)\n"
    )
    box = BOX.model_copy(update={"packages": True, "cpu_seconds": 20.0, "memory_mib": 512})
    [row] = kept(VerifyTests(sandbox=box), {"solution": GOOD, "tests": tests})
    assert row["failed_tests"] == ["test_all[1]"], row
    assert row["passed_fraction"] == pytest.approx(3 / 4)


def test_mutation_scores_tell_good_tests_from_vacuous_ones() -> None:
    program = "def larger(a, b):\n    if a > b:\n        return a\n    return b\n"
    strong = "assert larger(1, 2) == 2\nassert larger(2, 1) == 2\nassert larger(-1, -2) == -1"
    weak = "assert larger(3, 3) is not None\n"
    nothing = "larger(1, 2)"
    operator = VerifyTests(sandbox=BOX, mutants=12, min_mutation_score=0.5)
    rows = kept(operator, *({"solution": program, "tests": tests} for tests in (strong, weak, nothing)))
    assert [row["verdict"] for row in rows] == ["passed", "vacuous", "vacuous"]
    assert rows[0]["mutation_score"] > 0.8 > rows[1]["mutation_score"]
    assert rows[0]["mutants"] == rows[1]["mutants"] > 5
    assert "mutants pass; one " in rows[1]["reason"]
    assert (rows[2]["mutation_score"], rows[2]["reason"]) == (
        None,
        "the tests test nothing (line 1: no assertion ran)",
    )
    assert kept(operator, {"solution": program, "tests": strong}) == [rows[0]], "the same again"
    [failed] = kept(operator, {"solution": GOOD, "tests": strong})
    assert (failed["mutation_score"], failed["mutants"]) == (None, None)


def test_mutants_are_run_unless_it_is_said_otherwise() -> None:
    weak = {"solution": GOOD, "tests": "assert double(2) == double(2)\nassert double(3) == double(3)"}
    [row, strong] = kept(VerifyTests(sandbox=BOX), weak, {"solution": GOOD, "tests": TESTS})
    assert (row["verdict"], row["passed"], row["mutation_score"]) == ("vacuous", False, 0.0)
    assert row["mutants"] > 4, "more were run before it was said"
    assert (strong["passed"], strong["mutants"]) == (True, 4)
    partly = (
        "class V:\n    def __init__(self, x):\n        self.x = x\n    def __eq__(self, o):\n        "
        "return self.x == o.x\n"
    )
    row = {"solution": partly + "def f(x): return V(x)", "tests": "assert f(1).x == 1"}
    assert kept(VerifyTests(sandbox=BOX), row)[0]["passed"], "tests of a part"
    [unasked] = kept(VerifyTests(sandbox=BOX, mutants=0), weak)
    assert (unasked["passed"], unasked["mutants"]) == (True, None)


@pytest.mark.parametrize(
    "program", ["double = (2).__mul__", "double = lambda x: x * 2", "def double(x): pass"]
)
def test_a_program_without_mutants_is_not_vacuous(program: str) -> None:
    tests = TESTS if "pass" not in program else "assert double(1) is None"
    [row] = kept(VerifyTests(sandbox=BOX), {"solution": program, "tests": tests})
    assert (row["passed"], row["mutants"], row["mutation_score"]) == (True, 0, None)


def test_weak_examples_pairs_and_draws_are_vacuous_by_default() -> None:
    doctest = (
        'def f(x):\n    """\n    >>> f(1) == f(1)\n    True\n    """\n    return x + 1 if x > 3 else x\n'
    )
    [row] = kept(VerifyDoctests(sandbox=BOX), {"source": doctest})
    assert row["verdict"] == "vacuous"
    pairs = [{"stdin": "", "stdout": "done"}]
    script = "def f(x):\n    return x + 1\nf(1)\nprint('done')"
    [row] = kept(VerifyStdio(sandbox=BOX), {"solution": script, "pairs": pairs})
    assert row["verdict"] == "vacuous"
    only_negative = "def inputs(rng): return (-rng.randint(5, 9),)"
    program = (
        "def f(x):\n    if x < 0:\n        return 0\n    total = x + 1\n    total = total * 3\n    "
        "return total - 2\n"
    )
    row = {"solution": program, "reference": "def f(x): return 0", "name": "f", "draws": only_negative}
    [told] = kept(VerifyReference(sandbox=BOX, inputs="draws", min_mutation_score=0.6), row)
    assert told["verdict"] == "vacuous"
    assert kept(VerifyCompiles(sandbox=BOX), {"solution": GOOD})[0]["mutants"] is None


def test_flaky_tests_are_found_by_repetition() -> None:
    tests = "import os\nassert os.urandom(1)[0] % 2"
    rows = kept(VerifyTests(sandbox=BOX, repeats=8), *[{"solution": GOOD, "tests": tests}] * 4)
    assert "flaky" in {row["verdict"] for row in rows}
    assert all(row["failed_tests"] == ["line 2"] for row in rows if row["verdict"] == "flaky")
    [steady] = kept(VerifyTests(sandbox=BOX, repeats=4), {"solution": GOOD, "tests": TESTS})
    assert steady["verdict"] == "passed"


def test_doctests() -> None:
    program = (
        'def f(x):\n    """\n    >>> f(1)\n    2\n    >>> f(2)\n    5\n    >>> f("")\n    Traceback '
        '(most recent call last):\n    TypeError: x\n    """\n    return math.floor(x + 1)\n'
    )
    [row] = kept(VerifyDoctests(sandbox=BOX, prelude="head"), {"source": program, "head": "import math"})
    assert row["verdict"] == "failed"
    assert row["failed_tests"] == ["f 4: f(2)", 'f 6: f("")']
    assert row["reason"] == "f 4: f(2): expected 5, got 3 (and 1 more)"
    [without] = kept(VerifyDoctests(sandbox=BOX), {"source": GOOD})
    assert without["verdict"] == "error"


def test_input_and_output() -> None:
    program = "n = int(input())\nprint(n * 2)\nprint('done ')"
    pairs = [{"stdin": "2\n", "stdout": "4\ndone\n"}, {"stdin": "5", "stdout": "10\ndone"}]
    wrong = [*pairs, {"stdin": "1", "stdout": "3\ndone"}]
    rows = kept(
        VerifyStdio(sandbox=BOX),
        {"solution": program, "pairs": json.dumps(pairs)},
        {"solution": program, "pairs": wrong},
        {"solution": program, "pairs": [{"stdin": "x", "stdout": "0"}]},
        {"solution": "import sys\nprint(4); print('done'); sys.exit(3)", "pairs": pairs},
    )
    assert [row["verdict"] for row in rows] == ["passed", "failed", "failed", "failed"]
    assert rows[1]["reason"] == "line 1: expected '3', got '2'"
    assert rows[1]["passed_fraction"] == pytest.approx(2 / 3)
    assert rows[2]["reason"].startswith("ValueError: invalid literal")
    assert rows[3]["reason"] == "exit code 3"
    bad = verified(VerifyStdio(), {"solution": program, "pairs": "[]"}, {"solution": program, "pairs": [1]})
    assert all(isinstance(outcome, Failed) and "pairs" in outcome.error for outcome in bad)


def test_reference() -> None:
    reference = "def f(xs: list[int], k: int = 1) -> list[int]:\n    xs.sort()\n    return xs[:k]\n"
    same = (
        "def f(xs, k=1):\n    xs.sort()\n    return [x for i, x in enumerate(xs) if i < k or k < 0 and i "
        "< len(xs) + k]\n"
    )
    pure = "def f(xs, k=1): return sorted(xs)[:k]\n"
    rude = (
        "def f(xs, k=1):\n    xs.sort()\n    class L(list):\n        def __eq__(self, other): return "
        "True\n    return L()\n"
    )
    rows = kept(
        VerifyReference(sandbox=BOX),
        *({"solution": s, "reference": reference, "name": "f"} for s in (same, pure, rude)),
    )
    assert [row["verdict"] for row in rows] == ["passed", "failed", "failed"], rows
    assert "changes its arguments" in rows[1]["reason"]
    untyped = {"solution": same, "reference": "def f(a): return a", "name": "f"}
    [row] = kept(VerifyReference(sandbox=BOX), untyped)
    assert "has no annotation" in row["reason"]
    given_inputs = {
        **untyped,
        "solution": "def f(a): return a",
        "draws": "def inputs(rng): return (rng.random(),)",
    }
    [row] = kept(VerifyReference(sandbox=BOX, inputs="draws"), given_inputs)
    assert row["verdict"] == "passed"


def test_compiles() -> None:
    rows = kept(
        VerifyCompiles(sandbox=BOX),
        *(
            {"solution": text}
            for text in (GOOD, "return 1", "while True: x = 7 ** 10**9", "(" * 10**5, "def f(")
        ),
    )
    assert [row["passed"] for row in rows] == [True, False, True, False, False]


def test_rows_without_code_fail_alone() -> None:
    outcomes = verified(
        VerifyTests(sandbox=BOX),
        {"solution": None, "tests": TESTS},
        {"solution": GOOD},
        {"solution": GOOD, "tests": TESTS},
    )
    assert [type(outcome) for outcome in outcomes] == [Failed, Failed, Kept]
    assert outcomes[0].error == "column 'solution' holds NoneType; text is required"
    assert outcomes[1].error == "column 'tests' is missing; text is required"


@settings(max_examples=25)
@given(st.lists(st.tuples(st.text(max_size=80), st.text(max_size=80)), min_size=1, max_size=4))
def test_any_text_gets_a_verdict_and_always_the_same(pairs: list[tuple[str, str]]) -> None:
    rows = [{"solution": program, "tests": tests} for program, tests in pairs]
    found = kept(VerifyTests(sandbox=BOX, mutants=2), *rows)
    assert found == kept(VerifyTests(sandbox=BOX, mutants=2), *rows)
    assert all(row["passed"] or row["reason"] for row in found)


def test_tests_that_test_nothing_are_vacuous() -> None:
    """The sandbox's result of a run is the row's verdict, before any mutant is run."""
    rows = [
        {"solution": GOOD, "tests": tests}
        for tests in ("print(double(1))", "def test_a():\n    yield double(1)")
    ]
    for row in kept(VerifyTests(sandbox=BOX), *rows):
        assert (row["verdict"], row["passed"], row["passed_fraction"], row["mutants"]) == (
            "vacuous",
            False,
            0.0,
            None,
        )
        assert row["reason"].startswith("the tests test nothing (")


def test_a_summary_counts_verdicts() -> None:
    table = pa.table({"verdict": ["passed", "failed", "passed"]})
    assert VerifyTests().summary(table) == {"passed": 2, "failed": 1}


def test_time_is_told_only_where_asked() -> None:
    [row] = kept(VerifyTests(sandbox=BOX, timed=True), {"solution": GOOD, "tests": TESTS})
    assert 0 < row["seconds"] < 2


def test_doctests_become_unit_tests_and_both_take_a_prelude() -> None:
    source = 'def more(x):\n    """\n    >>> more(1)\n    3\n    """\n    return x + STEP\n'
    row = {"source": source, "head": "STEP = 2"}
    [told] = kept(VerifyDoctests(sandbox=BOX, prelude="head", as_tests="tests"), row)
    assert told["passed"]
    bare = {**row, "tests": told["tests"], "solution": "def more(x): return x + STEP"}
    [again] = kept(VerifyTests(sandbox=BOX, prelude="head"), bare)
    assert again["passed"]
    [wrong] = kept(VerifyTests(sandbox=BOX, prelude="head"), {**bare, "head": "STEP = 3"})
    assert wrong["verdict"] == "failed"
    [none] = kept(VerifyDoctests(sandbox=BOX, as_tests="tests"), {"source": "def more(x): return x"})
    assert none["tests"] is None


def test_a_row_says_what_its_verdict_rests_on() -> None:
    program = (
        "class V:\n    def __init__(self, x): self.x = x\n    def __eq__(self, o): return "
        "isinstance(o, V) and self.x == o.x\ndef f(x): return V(x)"
    )
    row = {"solution": program, "tests": "assert f(1) == V(1)"}
    [own, plain] = kept(VerifyTests(sandbox=BOX), row, {**row, "tests": "assert f(1).x == 1"})
    assert (own["passed"], own["program_operators"], own["shared_process"]) == (True, ["V.__eq__"], False)
    assert (plain["passed"], plain["program_operators"], plain["shared_process"]) == (True, [], False)
    weaker = BOX.model_copy(update={"shared_process": True})
    [shared] = kept(VerifyTests(sandbox=weaker), {**row, "tests": "class W(V): pass\nassert W(1) == V(1)"})
    assert (shared["passed"], shared["shared_process"]) == (True, True)
    [apart] = kept(VerifyTests(sandbox=BOX), {**row, "tests": "class W(V): pass\nassert W(1) == V(1)"})
    assert apart["verdict"] == "error"
    assert "sandbox: {shared_process: true}" in apart["reason"]
