"""``verify: edit``: whether a code change fixes failing tests, or saves work while the tests pass."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from ...contracts.inference import derive_seed
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from ..edits.diffs import applied, lines_of, unified
from ..edits.recorded_mutants import recorded, recorded_types
from ..execution.by_running import ByRunning, encodable, lacking
from ..execution.mutation_score import USUAL_MUTANTS, USUAL_SCORE, convincing
from ..execution.verdict import Judged, RunsJobs, Trust, Verdict, judge, trust_types
from ..parsers.python_source import parse_python
from ..sandbox.jobs import RunTests
from .cost import cost, ratio

if TYPE_CHECKING:
    import pyarrow as pa


#: Verdicts that need no run: only spaces and comments change; too many lines change; a tested name is added
#: or removed (the name of a prelude could replace it); or no change was needed.
NO_OP, REWRITE, RENAMED, NOT_NEEDED = "no_op", "rewrite", "renamed", "not_needed"
#: Verdicts that an edit may fix. An error means that the tests could not be run.
_WRONG = (Verdict.FAILED, Verdict.TIMEOUT, Verdict.MEMORY, Verdict.KILLED)


class VerifyEdit(ByRunning):
    """Runs tests before and after a code change, and decides whether the change is a valid edit.

    An edit passes as a ``fix`` if the tests fail before it and pass after it. It passes as an ``improvement``
    if the tests pass both times and the code after executes fewer lines. It filters nothing: use ``keep:
    "passed"`` for that.

    Adds:
        passed (bool): whether the edit is valid.
        verdict (text): passed; no_op (the same syntax tree), rewrite (it changes too many lines), renamed
            (only one side defines a function or class that the tests name), not_needed (the tests pass
            before, and the code after is no cheaper), vacuous (mutants of the code after pass too), flaky, or
            the verdict of running the code.
        reason (text): why it did not pass; null if it did.
        kind (text): `fix` or `improvement`; null if it did not pass.
        before_passed (bool): whether the tests pass before; null if they were not run.
        after_passed (bool): whether they pass after; null if they were not run.
        failed_tests (list of texts): names of the tests that fail before.
        symptom (text): message of the first of them, for a fix.
        diff (text): unified diff, verified to apply.
        changed_lines (int32): lines with - or + in the diff.
        changed_fraction (float64): share of the lines before that are changed.
        cost_ratio (float64): executed lines after, divided by those before, if both pass.
        mutants (int32): number of mutants of the code after that were run.
        mutation_score (float64): share of them that the tests noticed.
        mutant_diffs (list of texts): diff from the code after to each mutant.
        mutant_caught (list of bools): whether the tests noticed it.
        mutant_cpu_seconds (float64): limit of processor time per mutant.
        program_operators (list of texts): operators defined by the program that affected the verdict.
        shared_process (bool): whether tests and program ran in one process, where the program can forge its
            verdict.

    Example:
        judged: {verify: edit, from: edits, mutants: 6, min_mutation_score: 0.3}
    """

    seeded: ClassVar[bool] = True

    before: str = "before"
    """Column with the code before the edit."""
    after: str = "after"
    """Column with the code after it."""
    tests: str = "tests"
    """Column with the unit tests."""
    prelude: str | None = None
    """Column with code to run before both. By default there is none."""
    max_changed: float = Field(0.75, gt=0, le=1)
    """Maximum share of the lines before that an edit may change. Above it the verdict is `rewrite`."""
    min_gain: float = Field(0.1, gt=0, lt=1)
    """Minimum share of the executed lines that an improvement must save."""
    repeats: PositiveInt = 2
    """Number of runs. If their results differ, the verdict is `flaky`."""
    mutants: NonNegativeInt = USUAL_MUTANTS
    """Number of mutants of the code after to run the tests on. 0 runs none and is faster."""
    min_mutation_score: float = Field(USUAL_SCORE, ge=0, le=1)
    """Minimum share of the mutants that the tests must notice. Below it, four times as many mutants are run
    before the verdict is `vacuous`."""

    def uses_columns(self) -> Sequence[str]:
        return (self.before, self.after, self.tests, *([self.prelude] if self.prelude else []))

    def uses_text(self) -> Sequence[str]:
        return self.uses_columns()

    def runs(self) -> int:
        return self.repeats * (2 + self.mutants)

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {
            "passed": pa.bool_(),
            "verdict": pa.string(),
            "reason": pa.string(),
            "kind": pa.string(),
            "before_passed": pa.bool_(),
            "after_passed": pa.bool_(),
            "failed_tests": pa.list_(pa.string()),
            "symptom": pa.string(),
            "diff": pa.string(),
            "changed_lines": pa.int32(),
            "changed_fraction": pa.float64(),
            "cost_ratio": pa.float64(),
            **recorded_types(),
            **trust_types(),
        }

    async def judged(self, row: Row, run: RunsJobs, seed: int) -> Outcome:
        if (error := lacking(row, self.uses_columns())) is not None:
            return Failed(error)
        before, after = row[self.before], row[self.after]
        diff = unified(before, after)
        if applied(diff, before) != after:
            return Failed("the diff does not lead from before to after")
        told: Row = {**dict.fromkeys(self.types()), "failed_tests": [], "diff": encodable(diff)}
        told |= Trust().as_columns()
        removed, told["changed_lines"] = changes(diff)
        told["changed_fraction"] = removed / max(1, len(lines_of(before)))
        told |= await self._judged(row, told["changed_fraction"], run)
        if told["passed"] and self.mutants:
            told |= await self._mutated(row, run, derive_seed(seed, row["_id"], "mutants"))
        return Kept({**told, "reason": encodable(told["reason"]) if told["reason"] else None})

    async def _judged(self, row: Row, changed: float, run: RunsJobs) -> Row:
        before, after, tests = row[self.before], row[self.after], row[self.tests]
        if same_program(before, after):
            return _verdict(NO_OP, "only spaces and comments change")
        if changed > self.max_changed:
            return _verdict(REWRITE, f"touches {changed:.0%} of the lines")
        lost = sorted(
            name for name in one_sided(before, after) if re.search(rf"\b{re.escape(name)}\b", tests)
        )
        if lost:
            return _verdict(RENAMED, f"only one side defines {', '.join(lost)}, which the tests use")
        head = self._head(row)
        new = await judge([RunTests(head + after, tests)], run, self.repeats)
        seen: Row = {"after_passed": new.passed, **new.trust.as_columns()}
        if not new.passed:
            return {**seen, **_verdict(new.verdict.value, f"after: {new.message}")}
        old = await judge([RunTests(head + before, tests)], run, self.repeats)
        seen |= {"before_passed": old.passed, "failed_tests": _names(old)}
        if old.verdict in _WRONG:
            fix: Row = {"kind": "fix", "symptom": encodable(old.message)}
            return {**seen, **_verdict(Verdict.PASSED.value, None), **fix}
        if not old.passed:
            return {**seen, **_verdict(old.verdict.value, f"before: {old.message}")}
        return {**seen, **await self._improved(head + before, head + after, tests, run)}

    async def _improved(self, before: str, after: str, tests: str, run: RunsJobs) -> Row:
        old, new = await cost(before, tests, run), await cost(after, tests, run)
        if old.lines is None or new.lines is None:
            return _verdict(NOT_NEEDED, "the tests pass before the edit, and its cost could not be counted")
        found = ratio(new.lines, old.lines)
        if found > 1 - self.min_gain:
            reason = f"the tests pass before the edit; it executes {new.lines} lines for {old.lines}"
            return {**_verdict(NOT_NEEDED, reason), "cost_ratio": found}
        return {**_verdict(Verdict.PASSED.value, None), "kind": "improvement", "cost_ratio": found}

    async def _mutated(self, row: Row, run: RunsJobs, draw: int) -> Row:
        head, tests, after = self._head(row), row[self.tests], row[self.after]

        def jobs(program: str) -> list[RunTests]:
            return [RunTests(head + program, tests)]

        score = await convincing(
            after,
            jobs,
            run,
            usual=(await judge(jobs(after), run)).seconds,
            limits=self.sandbox.limits(),
            most=self.mutants,
            least=self.min_mutation_score,
            seed=draw,
            repeats=self.repeats,
        )
        measured = recorded(after, score)
        if score.score is not None and score.score < self.min_mutation_score:
            first = score.survived[0]
            reason = (
                f"{len(score.survived)} of {score.mutants} mutants pass; one {first.mistake} in line "
                f"{first.line}"
            )
            return {**measured, **_verdict(Verdict.VACUOUS.value, reason)}
        return measured

    def _head(self, row: Row) -> str:
        return f"{row[self.prelude]}\n\n" if self.prelude else ""


def _verdict(verdict: str, reason: str | None) -> Row:
    passed = verdict == Verdict.PASSED
    return {"passed": passed, "verdict": verdict, "reason": reason}


def _names(judged: Judged) -> list[str]:
    return [encodable(name) for name in judged.failed_tests]


def changes(diff: str) -> tuple[int, int]:
    """Return (lines that a unified diff removes, lines that it removes or adds)."""
    body = lines_of(diff)[2:]
    removed = sum(line.startswith("-") for line in body)
    return removed, removed + sum(line.startswith("+") for line in body)


def one_sided(before: str, after: str) -> frozenset[str]:
    """Return the top-level functions and classes that only one program defines; none if one does not
    parse."""
    try:
        return _defined(before) ^ _defined(after)
    except SyntaxError:
        return frozenset()


def _defined(program: str) -> frozenset[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return frozenset(node.name for node in parse_python(program).body if isinstance(node, kinds))


def same_program(before: str, after: str) -> bool:
    """Whether two texts are equal up to spaces and comments, that is, have equal syntax trees."""
    if before.strip() == after.strip():
        return True
    old = _meaning(before)
    return old is not None and old == _meaning(after)


def _meaning(program: str) -> str | None:
    try:
        return ast.dump(parse_python(program))
    except (SyntaxError, RecursionError):
        return None
