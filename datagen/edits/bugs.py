"""``generate: bugs``: code edits from real functions whose tests pass. A mutation is the bug, its undoing the edit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import PositiveInt, field_validator

from ...pipelines.inference import derive_seed
from ...pipelines.operator import Apply, Estimate, Failed, Filtered, Kept, Map, Outcome
from ...pipelines.records import Row
from ..mutation.mutants import Mutant
from ..mutation.operators import KINDS
from ..sandbox.jobs import RunTests
from ..sandbox.results import Result, Status
from ..verifying.boxes import SandboxSettings, shared
from ..verifying.by_running import encodable, or_failed
from ..verifying.mutation_score import measure, slowest
from ..verifying.verdict import Run, Verdict, judge
from .bug_instructions import STYLES, instructions
from .diffs import applied, unified
from .doctest_tests import tests_from_doctests
from .recorded_mutants import recorded, recorded_types

if TYPE_CHECKING:
    import pyarrow as pa

    from ...pipelines.operator import Context


class InjectBugs(Map):
    """Makes ``CodeEdit`` rows of the column ``code``: up to ``bugs`` for each, with no model.

    A bug is a mutant that runs and fails a test; so the test fails before the edit and passes after it, and
    both were seen. ``tests``: a column of unit tests; None: the examples in the code's docstrings, made into
    tests. ``prelude``: a column of code that is run before (the module that a function comes from). ``kinds``:
    only these mistakes. ``tries``: mutants a row at the most. The tests are run ``repeats`` times on the
    code and on each mutant, and a mutant whose runs differ is left out.

    New columns: ``before``, ``after``, ``diff`` (applies, checked), ``tests`` (with the prelude's names
    in scope), ``instructions`` (a text for each of four styles), ``style`` (one of them, drawn), ``bug``
    (kind), ``bug_line``, ``mistake``, ``function``, ``failed_tests``, ``reason`` (what the first one said), ``item``,
    those of :func:`recorded` (the mutation score and its mutants), and ``prelude`` (what was put before the
    code, with a blank line between) where one is used. Rows are filtered where there is no test
    (``no_tests``), the tests do not pass (``tests_fail``, ``flaky``), take more than a quarter of the limit of
    processor time (``slow``), or notice no mutant (``no_bug``).
    """

    version: ClassVar[int] = 6
    makes: ClassVar[bool] = True
    seeded: ClassVar[bool] = True
    batch_rows: ClassVar[int] = 32

    code: str = "source"
    tests: str | None = None
    prelude: str | None = None
    bugs: PositiveInt = 3
    tries: PositiveInt = 12
    repeats: PositiveInt = 2
    kinds: tuple[str, ...] | None = None
    sandbox: SandboxSettings = SandboxSettings(cpu_seconds=2.0)

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

    def open(self, context: Context) -> Apply:
        box, seed = shared(self.sandbox), context.seed

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            made = await asyncio.gather(*(or_failed(self._row(row, box.run, seed)) for row in rows))
            return [[outcomes] if isinstance(outcomes, Failed) else outcomes for outcomes in made]

        return apply

    async def _row(self, row: Row, run: Run, seed: int) -> list[Outcome]:
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

    def _edit(self, code: str, mutant: Mutant, result: Result, measured: Row, draw: int) -> Outcome:
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
