"""``verify: sound_tests``: removes generated tests that a solution does not pass."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveInt

from ...contracts.outcomes import Failed as FailedRow
from ...contracts.outcomes import Kept, Outcome
from ...contracts.rows import Row
from ..execution.by_running import ByRunning, encodable, lacking
from ..execution.sandboxes import SandboxSettings
from ..execution.verdict import RunsJobs, Trust, trust_types
from ..parsers.python_source import parse_python
from ..sandbox.jobs import RunTests
from ..sandbox.results import JobResult, Status

if TYPE_CHECKING:
    import pyarrow as pa


class VerifySoundTests(ByRunning):
    """Removes from a generated test suite the tests that a solution does not pass.

    A model that writes many tests gets some wrong. AceCoder (Zeng et al., arXiv 2502.01718) filters them by a
    solution, and drops questions with too few remaining tests. A test is a statement of the suite (an assert,
    a ``test_*`` function) or a method of a test class. A function that fails with some of its parameters is
    removed as a whole, and so is a class of which nothing is left. The remaining tests are run again, and
    must pass.

    Adds:
        tests (text): the remaining tests; unchanged if `passed` is false.
        tests_kept (int32): number of remaining tests.
        tests_dropped (int32): number of removed tests.
        passed (bool): whether enough tests remain, and pass.
        reason (text): why not; null if they do.
        program_operators (list of texts): operators defined by the program that affected the verdict.
        shared_process (bool): whether tests and program ran in one process, where the program can forge its
            verdict.

    Example:
        sound: {verify: sound_tests, from: problems, code: solution, min_tests: 5}
    """

    version: ClassVar[int] = 4

    code: str = "solution"
    """Column with the solution."""
    tests: str = "tests"
    """Column with the test suite, which is replaced."""
    min_tests: PositiveInt = 3
    """Minimum number of remaining tests."""
    sandbox: SandboxSettings = SandboxSettings(cpu_seconds=2.0)
    """Sandbox settings: limits, and permitted imports."""

    def uses_columns(self) -> Iterable[str]:
        return (self.code, self.tests)

    def uses_text(self) -> Iterable[str]:
        return self.uses_columns()

    def runs(self) -> int:
        return 2

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {
            self.tests: pa.string(),
            "tests_kept": pa.int32(),
            "tests_dropped": pa.int32(),
            "passed": pa.bool_(),
            "reason": pa.string(),
            **trust_types(),
        }

    def summary(self, table: pa.Table) -> Mapping[str, Any]:
        """The total numbers of kept and dropped tests."""
        import pyarrow.compute as pc

        return {name: int(pc.sum(table[name]).as_py() or 0) for name in ("tests_kept", "tests_dropped")}

    async def judged(self, row: Row, run: RunsJobs, seed: int) -> Outcome:
        if (error := lacking(row, (self.code, self.tests))) is not None:
            return FailedRow(error)
        program, tests = row[self.code], row[self.tests]
        first = await run(RunTests(program, tests))
        if first.status not in (Status.PASSED, Status.FAILED):
            return self._told(tests, 0, len(first.tests), f"{first.status.value}: {first.message}", [first])
        failed = first.failed_tests
        left = without(tests, failed) if failed else tests
        gone = {_written(name) for name in failed}
        kept = sum(_written(test.name) not in gone for test in first.tests)
        dropped = len(first.tests) - kept
        if kept < self.min_tests:
            return self._told(tests, kept, dropped, f"{kept} of {len(first.tests)} tests pass", [first])
        runs = [first]
        if failed:
            again = await run(RunTests(program, left))
            runs.append(again)
            if not again.passed or len(again.tests) != kept:
                return self._told(
                    tests, kept, dropped, f"the remaining tests do not pass: {_said(again)}", runs
                )
        return self._told(left, kept, dropped, None, runs)

    def _told(
        self, tests: str, kept: int, dropped: int, reason: str | None, runs: Sequence[JobResult]
    ) -> Outcome:
        return Kept(
            {
                self.tests: tests,
                "tests_kept": kept,
                "tests_dropped": dropped,
                "passed": reason is None,
                "reason": None if reason is None else encodable(reason),
                **Trust.of(runs).as_columns(),
            }
        )


def _said(result: JobResult) -> str:
    return result.message or f"{len(result.tests)} tests {result.status.value}"


def without(tests: str, failed: Collection[str]) -> str:
    """Remove the tests of these names from the suite (``line 3``, ``test_a``, ``test_a[0]``,
    ``TestB.test_c``).

    The suite must parse, which it does once it was run.
    """
    names = {_written(name) for name in failed}
    gone = {
        line
        for statement in parse_python(tests).body
        for node in _tests(statement, names)
        for line in _lines(node)
    }
    return "\n".join(line for number, line in enumerate(tests.split("\n"), 1) if number not in gone)


def _written(name: str) -> str:
    """Return the name of the statement that a test is written as, which has many with parameters."""
    return name.split("[")[0]


def _tests(statement: ast.stmt, names: Collection[str], owner: str = "") -> list[ast.stmt]:
    """Return the tests of these names in a statement: itself, or methods of a class."""
    name = owner + getattr(statement, "name", "")
    if isinstance(statement, ast.ClassDef):
        found = [gone for each in statement.body for gone in _tests(each, names, f"{name}.")]
        return [statement] if all(each in found for each in statement.body) else found
    named = name in names or (not owner and f"line {statement.lineno}" in names)
    return [statement] if named else []


def _lines(node: ast.stmt) -> range:
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
    return range(first, (node.end_lineno or node.lineno) + 1)
