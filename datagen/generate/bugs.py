"""``generate: bugs``: code edits from tested functions. A mutation is the bug; undoing it is the edit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import PositiveInt, field_validator

from ...contracts.inference import derive_seed
from ...contracts.operators import Apply, Estimate, Map
from ...contracts.outcomes import Failed, Filtered, Kept, Outcome
from ...contracts.rows import Row
from ..edits.bug_instructions import STYLES, instructions
from ..edits.diffs import applied, unified
from ..edits.doctest_tests import tests_from_doctests
from ..edits.recorded_mutants import recorded, recorded_types
from ..execution.by_running import encodable, or_failed
from ..execution.mutation_score import measure, slowest
from ..execution.sandboxes import SandboxSettings, shared
from ..execution.verdict import RunsJobs, Verdict, judge
from ..mutation.mutants import Mutant
from ..mutation.operators import KINDS
from ..sandbox.jobs import RunTests
from ..sandbox.results import JobResult, Status

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context


class InjectBugs(Map):
    """Makes code edits from functions whose tests pass, without a model.

    A mutant that fails a test is the bug, and undoing it is the edit. Each edit is verified to fail a test
    before and to pass all tests after. Mutants whose runs differ are skipped.

    Adds:
        before (text): code with the bug.
        after (text): the code as it was.
        diff (text): unified diff from `before` to `after`, verified to apply.
        tests (text): tests that fail before and pass after.
        instructions (struct of texts): request for the edit in each of four styles.
        style (text): one of the styles, drawn.
        bug (text): kind of mistake.
        bug_line (int32): line of the mistake.
        mistake (text): description of the mistake.
        function (text): name of the function.
        failed_tests (list of texts): names of the tests that fail before.
        reason (text): message of the first failed test.
        item (int32): index of the edit in the row, from 0.
        mutants (int32): number of mutants that were run.
        mutation_score (float64): share of them that the tests noticed.
        mutant_diffs (list of texts): diff from the code to each mutant.
        mutant_caught (list of bools): whether the tests noticed it.
        mutant_cpu_seconds (float64): limit of processor time per mutant.
        prelude (text): code that ran before, if `prelude` is set.

    Filters:
        no_tests: there are no tests.
        tests_fail: the tests do not pass on the code.
        flaky: the results of the runs differ.
        slow: the tests take more than a quarter of the limit of processor time.
        no_bug: no mutant is noticed.

    Example:
        functions: {source: python_functions, package: statistics}
        edits: {generate: bugs, from: functions, bugs: 3}
    """

    version: ClassVar[int] = 6
    makes_rows: ClassVar[bool] = True
    seeded: ClassVar[bool] = True
    batch_rows: ClassVar[int] = 32

    code: str = "source"
    """Column with the code."""
    tests: str | None = None
    """Column with unit tests of the code. By default the examples in its docstrings are used."""
    prelude: str | None = None
    """Column with code to run before, such as the module of a function. By default there is none."""
    bugs: PositiveInt = 3
    """Maximum number of edits per row."""
    tries: PositiveInt = 12
    """Maximum number of mutants to run per row."""
    repeats: PositiveInt = 2
    """Number of test runs on the code and on each mutant."""
    kinds: tuple[str, ...] | None = None
    """Kinds of mistake to make, by name. By default all of them."""
    sandbox: SandboxSettings = SandboxSettings(cpu_seconds=2.0)
    """How the code is run: limits, and what it may import."""

    @field_validator("kinds")
    @classmethod
    def _known(cls, kinds: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for kind in kinds or ():
            if kind not in KINDS:
                raise ValueError(f"unknown kind of bug {kind!r}; known: {', '.join(KINDS)}")
        return kinds

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=rows * self.bugs, runs=rows * self.repeats * (1 + self.tries))

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        text = pa.string()
        texts = dict.fromkeys(
            ("before", "after", "diff", "tests", "style", "bug", "mistake", "function", "reason"), text
        )
        return {
            **texts,
            "instructions": pa.struct([(style, text) for style in STYLES]),
            "bug_line": pa.int32(),
            "failed_tests": pa.list_(text),
            "item": pa.int32(),
            **recorded_types(),
            **({} if self.prelude is None else {"prelude": text}),
        }

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, *self.types()]

    def open(self, context: Context) -> Apply:
        box, seed = shared(self.sandbox), context.seed

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            made = await asyncio.gather(*(or_failed(self._row(row, box.run, seed)) for row in rows))
            return [[outcomes] if isinstance(outcomes, Failed) else outcomes for outcomes in made]

        return apply

    async def _row(self, row: Row, run: RunsJobs, seed: int) -> list[Outcome]:
        needed = [self.code, *(column for column in (self.tests, self.prelude) if column is not None)]
        for column in needed:
            if not isinstance(row.get(column), str):
                return [Failed(f"column {column!r} holds no text")]
        code = row[self.code]
        tests = tests_from_doctests(code) if self.tests is None else row[self.tests]
        if not tests or not tests.strip():
            return [Filtered("no_tests")]
        before = "" if self.prelude is None else f"{row[self.prelude]}\n\n"
        judged = await judge([RunTests(before + code, tests)], run, self.repeats)
        if not judged.passed:
            rule = "flaky" if judged.verdict is Verdict.FLAKY else "tests_fail"
            return [Filtered(rule, row={"reason": encodable(f"{judged.verdict}: {judged.message}")})]
        if judged.seconds > slowest(self.sandbox.limits()):
            return [Filtered("slow", judged.seconds)]
        score = await measure(
            code,
            lambda program: [RunTests(before + program, tests)],
            run,
            usual=judged.seconds,
            limits=self.sandbox.limits(),
            most=self.tries,
            seed=derive_seed(seed, row["_id"], "bugs"),
            repeats=self.repeats,
            kinds=self.kinds,
        )
        ran = zip(score.drawn, score.results, strict=True)
        found = [(mutant, result) for mutant, result in ran if result.status is Status.FAILED]
        if not found:
            return [Filtered("no_bug", row={"mutants": score.mutants})]
        measured: Row = {"tests": tests, **recorded(code, score)}
        if self.prelude is not None:
            measured["prelude"] = row[self.prelude]
        return [
            self._edit(code, mutant, result, {**measured, "item": item}, derive_seed(seed, row["_id"], item))
            for item, (mutant, result) in enumerate(found[: self.bugs])
        ]

    def _edit(self, code: str, mutant: Mutant, result: JobResult, measured: Row, draw: int) -> Outcome:
        diff = unified(mutant.source, code)
        if applied(diff, mutant.source) != code:
            return Failed("the diff does not lead from the bug to the code", row=measured)
        symptom = encodable(next(test.message for test in result.tests if not test.passed))
        asked = instructions(mutant.function, mutant.line, mutant.mistake, symptom, draw)
        return Kept(
            {
                **measured,
                "before": mutant.source,
                "after": code,
                "diff": diff,
                "instructions": asked,
                "style": STYLES[draw % len(STYLES)],
                "bug": mutant.kind,
                "bug_line": mutant.line,
                "mistake": mutant.mistake,
                "function": mutant.function,
                "failed_tests": [encodable(name) for name in result.failed_tests],
                "reason": encodable(result.message),
            }
        )
