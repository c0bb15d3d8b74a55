"""Cost in executed lines: equal in every run, and compared only if both programs pass the tests."""

from __future__ import annotations

import asyncio
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.outcomes import Failed, Kept
from gristmill.datagen.execution.sandboxes import SandboxSettings
from gristmill.datagen.verify.cost import VerifyCost

BOX = SandboxSettings(wall_seconds=300, cpu_seconds=5, memory_mib=192)
SLOW = (
    "def has_pair(xs, t):\n    for i in range(len(xs)):\n        for j in range(len(xs)):\n            "
    "if i != j and xs[i] + xs[j] == t:\n                return True\n    return False\n"
)
FAST = (
    "def has_pair(xs, t):\n    seen = set()\n    for x in xs:\n        if t - x in seen:\n            "
    "return True\n        seen.add(x)\n    return False\n"
)
TESTS = (
    "assert has_pair([1, 2, 3], 5)\nassert not has_pair(list(range(30)), 100)\nassert not has_pair([4], 8)"
)


class Here:
    seed, step = 17, "cheaper"


def judged(operator: VerifyCost, *rows: dict[str, Any]) -> list[Any]:
    found = asyncio.run(operator.open(Here())([{"_id": f"r{n}", **row} for n, row in enumerate(rows)]))  # type: ignore[arg-type]
    columns = operator.types()
    for [outcome] in found:
        if isinstance(outcome, Kept):
            assert set(outcome.row) == set(columns)
            for name, kind in columns.items():
                pa.array([outcome.row[name]], type=kind)
    return [outcome.row if isinstance(outcome, Kept) else outcome for [outcome] in found]


def test_a_cheaper_program_passes_and_a_dearer_one_does_not() -> None:
    rows = [
        {"code": FAST, "against": SLOW, "tests": TESTS},
        {"code": SLOW, "against": FAST, "tests": TESTS},
        {"code": SLOW, "against": SLOW, "tests": TESTS},
    ]
    cheap, dear, same = judged(VerifyCost(sandbox=BOX), *rows)
    assert (cheap["passed"], cheap["verdict"], cheap["reason"]) == (True, "passed", None)
    assert cheap["cost_ratio"] < 0.2
    assert (dear["passed"], dear["verdict"]) == (False, "costly")
    assert dear["cost_ratio"] == pytest.approx(1 / cheap["cost_ratio"])
    assert (dear["lines"], dear["lines_against"]) == (cheap["lines_against"], cheap["lines"])
    assert (same["cost_ratio"], same["passed"]) == (1.0, False)
    assert judged(VerifyCost(sandbox=BOX), *rows) == [cheap, dear, same], "the same again"
    assert judged(VerifyCost(sandbox=BOX, max_ratio=1.0), rows[2])[0]["passed"]


def test_a_program_that_is_wrong_is_never_cheaper() -> None:
    wrong = "def has_pair(xs, t):\n    return True\n"
    first, second = judged(
        VerifyCost(sandbox=BOX),
        {"code": wrong, "against": SLOW, "tests": TESTS},
        {"code": FAST, "against": wrong, "tests": TESTS},
    )
    assert (first["verdict"], first["lines"], first["cost_ratio"]) == ("failed", None, None)
    assert first["reason"].startswith("code: line 2")
    assert (second["passed"], second["verdict"]) == (False, "failed")
    assert second["reason"].startswith("against: ")


def test_prelude_and_other_columns() -> None:
    row = {"new": "def f(x):\n    return g(x)\n", "old": "def f(x):\n    y = x\n    y = g(y)\n    return y\n"}
    row |= {"head": "def g(x):\n    return x + 1\n", "checks": "assert all(f(n) == n + 1 for n in range(40))"}
    operator = VerifyCost(code="new", against="old", tests="checks", prelude="head", sandbox=BOX)
    assert judged(operator, row)[0]["passed"]
    assert isinstance(judged(VerifyCost(sandbox=BOX), row)[0], Failed)


def test_seconds_are_told_where_asked_and_decide_nothing() -> None:
    sleepy = "def f(n):\n    return sorted(range(n * 200_000))[0]\n"
    plain = "def f(n):\n    a = n\n    a = a - n\n    return a\n"
    operator = VerifyCost(sandbox=BOX, timed=True, repeats=2)
    [row] = judged(operator, {"code": sleepy, "against": plain, "tests": "assert f(4) == 0"})
    assert row["passed"], "fewer lines"
    assert row["seconds"] > row["seconds_against"] > 0


def test_a_summary_counts_verdicts() -> None:
    assert VerifyCost().summary(pa.table({"verdict": ["costly", "passed"]})) == {"costly": 1, "passed": 1}


def test_lines_under_another_files_name_are_not_cheap() -> None:
    hidden = "t = 0\nfor i in range(1000):\n    t += i\n"
    code = (
        f"def f(n):\n    space = {{}}\n    exec(compile({hidden!r}, 'lib.py', 'exec'), space)\n    return n"
    )
    row = {
        "code": code,
        "against": f"def f(n):\n    a = n\n{'    a = a + 0' + chr(10)}    return a",
        "tests": "assert f(1) == 1",
    }
    [dear] = judged(VerifyCost(sandbox=BOX), row)
    assert (dear["verdict"], dear["lines"] > 2000) == ("costly", True)
    assert (dear["program_operators"], dear["shared_process"]) == ([], False)
