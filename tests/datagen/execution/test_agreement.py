"""Agreement of programs and tests: agreeing ones win over wrong programs and wrong tests."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.contracts.outcomes import TableResult
from gristmill.datagen.execution.agreement import Agreement, Candidate, agreement
from gristmill.datagen.execution.sandboxes import SandboxSettings
from gristmill.datagen.sandbox.results import JobResult, Status, TestOutcome

BOX = SandboxSettings(wall_seconds=300, cpu_seconds=1)
RIGHT = "def area(w, h):\n    return w * h\n"
ALSO_RIGHT = "def area(w, h):\n    return sum(w for _ in range(h))\n"
WRONG = "def area(w, h):\n    return w + h\n"
ENDLESS = "def area(w, h):\n    while True: pass\n"
GOOD_TESTS = "assert area(2, 3) == 6\nassert area(1, 5) == 5"
BAD_TESTS = "assert area(2, 3) == 5\nassert area(1, 5) == 6"
MIXED_TESTS = "assert area(2, 2) == 4\nassert area(3, 3) == 8"


def judged(
    operator: Agreement, context: Any, rows: list[dict[str, Any]]
) -> tuple[TableResult, dict[str, Any]]:
    table = pa.Table.from_pylist([{"_id": f"r{n}", **row} for n, row in enumerate(rows)])
    verdicts = operator.apply(table, context)
    return verdicts, {name: column.to_pylist() for name, column in verdicts.columns.items()}


def test_the_right_code_wins_though_its_own_tests_are_wrong(context: Any) -> None:
    """Only the second candidate's program passes its own tests, and program and tests are wrong."""
    rows = [
        {"prompt": "area", "code": RIGHT, "tests": BAD_TESTS},
        {"prompt": "area", "code": WRONG, "tests": BAD_TESTS},
        {"prompt": "area", "code": ALSO_RIGHT, "tests": MIXED_TESTS},
        {"prompt": "area", "code": ENDLESS, "tests": GOOD_TESTS},
        {"prompt": "area", "code": "def area(", "tests": "def test(:"},
    ]
    verdicts, columns = judged(Agreement(sandbox=BOX), context, rows)
    assert verdicts.kept is not None
    assert verdicts.kept.tolist() == [True, False, False, False, False]
    assert columns["passes_tests"] == [3, 5, 3, 0, 0]
    assert columns["agreeing"] == [2, 1, 2, 2, 2]
    assert columns["agreement_score"] == [6.0, 5.0, 6.0, 0.0, 0.0]
    assert columns["tests_passed_by"] == [1, 1, 0, 2, 0]
    assert columns["agreed_tests"] == [GOOD_TESTS, BAD_TESTS, GOOD_TESTS, None, None]
    assert list(verdicts.rule)[1:] == ["agreement"] * 4
    assert list(verdicts.duplicate_of or ()) == [None, "r0", "r0", "r0", "r0"]
    assert [kind.type for kind in verdicts.columns.values()] == [
        pa.int32(), pa.int32(), pa.float64(), pa.int32(), pa.string(),
    ]  # fmt: skip


def test_problems_are_apart_and_bounded(context: Any) -> None:
    rows = [
        {"prompt": "a", "code": RIGHT, "tests": GOOD_TESTS},
        {"prompt": "b", "code": WRONG, "tests": GOOD_TESTS},
        {"prompt": "a", "code": RIGHT, "tests": GOOD_TESTS},
        {"prompt": "a", "code": RIGHT, "tests": GOOD_TESTS},
        {"prompt": "a", "code": None, "tests": GOOD_TESTS},
    ]
    verdicts, columns = judged(Agreement(sandbox=BOX, at_most=2), context, rows)
    assert verdicts.kept is not None
    assert verdicts.kept.tolist() == [True, False, False, False, False]
    assert list(verdicts.rule)[:4] == ["", "no_agreement", "agreement", "surplus"]
    assert list(verdicts.errors or ())[4] == "column 'code' holds no text"
    assert columns["agreement_score"] == [8.0, 0.0, 8.0, None, None]
    annotated, same = judged(Agreement(sandbox=BOX, at_most=2, take="all"), context, rows)
    assert annotated.kept is not None
    assert annotated.kept.tolist() == [True, True, True, False, False]
    assert same == columns
    with pytest.raises(DataError, match="no column 'task'"):
        judged(Agreement(by=("task",)), context, rows)


def results(matrix: list[list[int]]) -> list[list[JobResult]]:
    """Suite ``j`` has three tests; a program passes the first ``matrix[i][j]`` of them."""

    def result(passed: int) -> JobResult:
        tests = tuple(TestOutcome(f"t{n}", n < passed) for n in range(3))
        return JobResult(Status.PASSED if passed == 3 else Status.FAILED, tests=tests)

    return [[result(passed) for passed in row] for row in matrix]


matrices = st.integers(1, 5).flatmap(
    lambda size: st.lists(
        st.lists(st.integers(0, 3), min_size=size, max_size=size), min_size=size, max_size=size
    )
)


def told(matrix: list[list[int]], suites: list[str]) -> list[Candidate]:
    return agreement([""] * len(matrix), suites, results(matrix))


@given(matrices, st.randoms())
def test_what_is_said_of_a_candidate_does_not_depend_on_the_order(
    matrix: list[list[int]], random: Any
) -> None:
    names = [f"suite {n}" for n in range(len(matrix))]
    found = told(matrix, names)
    order = random.sample(range(len(matrix)), len(matrix))
    mixed = told([[matrix[i][j] for j in order] for i in order], [names[j] for j in order])
    for place, index in enumerate(order):
        before, after = found[index], mixed[place]
        assert (before.score, before.passes_tests, before.agreeing, before.tests_passed_by) == (
            after.score, after.passes_tests, after.agreeing, after.tests_passed_by,
        )  # fmt: skip
    for row, each in zip(matrix, found, strict=True):
        assert each.passes_tests == sum(row)
        assert each.agreeing == matrix.count(row)
        assert (each.agreed_tests is None) == (3 not in row)
        if each.agreed_tests is not None:
            most = max(sum(other[j] == 3 for other in matrix) for j in range(len(row)) if row[j] == 3)
            assert found[names.index(each.agreed_tests)].tests_passed_by == most
