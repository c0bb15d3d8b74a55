"""``select: agreement``: chooses the candidate programs and tests of a problem that agree with most
others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from ...contracts.context import Context
from ...contracts.errors import DataError, SandboxDied
from ...contracts.operators import Estimate, WholeTable
from ...contracts.outcomes import Failed, TableResult
from ..sandbox.jobs import RunTests
from ..sandbox.pool import Sandbox
from ..sandbox.results import JobResult, Status
from .sandboxes import SandboxSettings, shared

if TYPE_CHECKING:
    import pyarrow as pa

#: One test of one suite: (index of the suite, name of the test).
Test = tuple[int, str]


class Agreement(WholeTable):
    """Chooses the candidate programs and tests of a problem that agree with most others.

    Every program of a group is run on every test suite of the group. Programs that pass exactly the same
    tests agree. Their score is their number times the number of those tests. This is the dual execution
    agreement of CodeT (Chen et al., arXiv 2207.10397), which DSTC (Liu et al., arXiv 2411.13611) uses to
    choose unverified code and tests. Rows without text in either column fail.

    Adds:
        passes_tests (int32): number of the group's tests that the code passes.
        agreeing (int32): number of programs that pass the same tests, including this one.
        agreement_score (float64): product of the two.
        tests_passed_by (int32): number of programs that pass the row's whole suite.
        agreed_tests (text): of the suites that the code passes, the one that most programs pass; null if it
            passes none.

    Filters:
        agreement: another row of the group has a higher score.
        no_agreement: no program of the group passes a suite.
        surplus: the group has more than `at_most` rows.

    Example:
        best: {select: agreement, by: [prompt], at_most: 8, from: candidates}
    """

    code: str = "code"
    """Column with the candidate program."""
    tests: str = "tests"
    """Column with the candidate test suite."""
    by: tuple[str, ...] = Field(default=("prompt",), min_length=1)
    """Columns whose equal values make a group: candidates for one problem."""
    take: Literal["best", "all"] = "best"
    """`best` keeps the row with the highest score of each group; `all` keeps every row with the added
    columns."""
    at_most: PositiveInt = 16
    """Maximum number of rows per group to run. The number of runs grows with its square."""
    sandbox: SandboxSettings = SandboxSettings(cpu_seconds=2.0)
    """How the code is run: limits, and what it may import."""

    version: ClassVar[int] = 1

    def uses_columns(self) -> Iterable[str]:
        return (self.code, self.tests, *self.by)

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=rows, runs=rows * min(rows, self.at_most))

    def apply(self, table: pa.Table, context: Context) -> TableResult:
        """Judge all rows.

        Raises DataError if a column is missing, SandboxError without isolation.
        """
        for name in (*self.by, self.code, self.tests):
            if name not in table.column_names:
                raise DataError(f"select: agreement: no column {name!r}")
        rows = table.select([self.code, self.tests, *self.by]).to_pylist()
        ids: list[str] = table["_id"].to_pylist()
        errors: list[str | Failed | None] = [self._unfit(row) for row in rows]
        groups: dict[str, list[int]] = {}
        for index, row in enumerate(rows):
            if errors[index] is None:
                groups.setdefault(repr([row[name] for name in self.by]), []).append(index)
        box = shared(self.sandbox)
        told: list[Candidate | None] = [None] * len(rows)
        kept, rules = [error is None for error in errors], [""] * len(rows)
        duplicate_of: list[str | None] = [None] * len(rows)
        for number, members in enumerate(groups.values()):
            context.check()
            context.progress(number, len(groups), "problems")
            for index in members[self.at_most :]:
                kept[index], rules[index] = False, "surplus"
            tried = members[: self.at_most]
            programs, suites = ([rows[index][name] for index in tried] for name in (self.code, self.tests))
            try:
                found = agreement(programs, suites, executed(programs, suites, box))
            except SandboxDied as error:
                # A missing run could have changed the result of each row.
                for index in tried:
                    errors[index] = Failed(str(error), retryable=error.retryable)
                continue
            best = _best(found)
            for place, index in enumerate(tried):
                told[index] = found[place]
                if self.take == "best" and place != best:
                    kept[index] = False
                    rules[index] = "agreement" if best is not None else "no_agreement"
                    duplicate_of[index] = None if best is None else ids[tried[best]]
        return self._table_result(told, kept, rules, duplicate_of, errors, len(groups))

    def _unfit(self, row: dict[str, Any]) -> str | None:
        wrong = [name for name in (self.code, self.tests) if not isinstance(row[name], str)]
        return f"column {wrong[0]!r} holds no text" if wrong else None

    def _table_result(
        self,
        told: Sequence[Candidate | None],
        kept: Sequence[bool],
        rules: Sequence[str],
        duplicate_of: Sequence[str | None],
        errors: Sequence[str | Failed | None],
        problems: int,
    ) -> TableResult:
        import numpy as np
        import pyarrow as pa

        def column(name: str, kind: pa.DataType) -> pa.Array:
            return pa.array([None if each is None else getattr(each, name) for each in told], kind)

        columns = {
            "passes_tests": column("passes_tests", pa.int32()),
            "agreeing": column("agreeing", pa.int32()),
            "agreement_score": column("score", pa.float64()),
            "tests_passed_by": column("tests_passed_by", pa.int32()),
            "agreed_tests": column("agreed_tests", pa.string()),
        }
        agreed = sum(each is not None and each.agreed_tests is not None for each in told)
        return TableResult(
            kept=np.array(kept, dtype=bool),
            rule=rules,
            score=np.array([np.nan if each is None else each.score for each in told]),
            duplicate_of=duplicate_of,
            errors=errors,
            columns=columns,
            summary={"problems": problems, "codes_that_pass_a_suite": agreed},
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """The agreement of one row with the others; see :class:`Agreement`."""

    passes_tests: int
    agreeing: int
    tests_passed_by: int
    agreed_tests: str | None

    @property
    def score(self) -> float:
        return float(self.agreeing * self.passes_tests)


def executed(programs: Sequence[str], suites: Sequence[str], box: Sandbox) -> list[list[JobResult]]:
    """Run program ``i`` on suite ``j`` for ``result[i][j]``. Equal pairs are run once. Raises SandboxDied."""
    pairs = list(dict.fromkeys((program, suite) for program in programs for suite in suites))
    with ThreadPoolExecutor(box.workers) as threads:
        results = threads.map(lambda pair: box.run_now(RunTests(*pair)), pairs)
        found = dict(zip(pairs, results, strict=True))
    return [[found[program, suite] for suite in suites] for program in programs]


def agreement(
    programs: Sequence[str], suites: Sequence[str], results: Sequence[Sequence[JobResult]]
) -> list[Candidate]:
    """Return a candidate per row, from the results of all programs on all suites."""
    passed = [frozenset(_passed(row)) for row in results]
    whole = [[result.passed for result in row] for row in results]
    passed_by = [sum(row[suite] for row in whole) for suite in range(len(suites))]
    made = []
    for index in range(len(programs)):
        own = [suite for suite in range(len(suites)) if whole[index][suite]]
        agreed = max(
            own, key=lambda suite: (passed_by[suite], len(results[index][suite].tests), -suite), default=None
        )
        made.append(
            Candidate(
                passes_tests=len(passed[index]),
                agreeing=passed.count(passed[index]),
                tests_passed_by=passed_by[index],
                agreed_tests=None if agreed is None else suites[agreed],
            )
        )
    return made


def _passed(row: Sequence[JobResult]) -> Iterable[Test]:
    """Return the tests that a program passes; none of a suite that could not be run to its end."""
    for suite, result in enumerate(row):
        if result.status in (Status.PASSED, Status.FAILED):
            yield from ((suite, test.name) for test in result.tests if test.passed)


def _best(found: Sequence[Candidate]) -> int | None:
    fit = [index for index, each in enumerate(found) if each.agreed_tests is not None]
    return max(
        fit, key=lambda index: (found[index].score, found[index].tests_passed_by, -index), default=None
    )
