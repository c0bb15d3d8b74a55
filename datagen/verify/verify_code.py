"""Base of the operators that verify a row by running its code."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from ...contracts.inference import derive_seed
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from ..execution.by_running import ByRunning, encodable, lacking
from ..execution.mutation_score import USUAL_MUTANTS, USUAL_SCORE, MutationScore, convincing
from ..execution.verdict import Judged, RunsJobs, Verdict, judge, trust_types
from ..sandbox.jobs import Job

if TYPE_CHECKING:
    import pyarrow as pa


class VerifyCode(ByRunning):
    """Runs the program in the column ``code`` and adds the results. Filters nothing: use ``keep: "passed"``.

    Tests that also pass on broken programs are worthless. The tests of a passing program are therefore run on
    mutants of it. If they notice too few, even of four times as many mutants, the verdict is ``vacuous``. A
    program without mutants is not vacuous. A row without text in a required column fails.

    Adds:
        passed (bool): whether everything passed.
        verdict (text): passed, failed, error, timeout, memory, killed, refused, flaky or vacuous.
        reason (text): why it did not pass; null if it did.
        failed_tests (list of texts): names of the tests that failed.
        passed_fraction (float64): share of the tests that ran and passed.
        mutation_score (float64): share of the mutants that the tests noticed; null unless the code passes and
            has mutants.
        mutants (int32): number of mutants that were run.
        program_operators (list of texts): operators defined by the program that affected the verdict; empty
            if it depends only on plain data.
        shared_process (bool): whether tests and program ran in one process, where the program can forge its
            verdict.
        seconds (float64): processor time of a run, with `timed: true`. It varies between runs.
    """

    seeded: ClassVar[bool] = True

    code: str = "solution"
    """Column with the program."""
    repeats: PositiveInt = 1
    """Number of runs. If their results differ, the verdict is `flaky`."""
    mutants: NonNegativeInt = USUAL_MUTANTS
    """Number of mutants of a passing program to run its tests on. 0 runs none and takes a fifth of the
    time."""
    min_mutation_score: float = Field(USUAL_SCORE, ge=0, le=1)
    """Minimum share of the mutants that the tests must notice. Below it the verdict is `vacuous`. The default
    is low because tests may cover only a part of a program."""
    timed: bool = False
    """Add the column `seconds`."""

    @abstractmethod
    def columns(self) -> Sequence[str]:
        """The text columns that :meth:`jobs` requires besides ``code``."""

    @abstractmethod
    def jobs(self, program: str, row: Row) -> Sequence[Job]:
        """Return the jobs that decide a row: at least one, all of which must pass.

        Raises ValueError if the row's columns are not valid.
        """

    def uses_columns(self) -> Iterable[str]:
        return (self.code, *self.columns())

    def uses_text(self) -> Iterable[str]:
        return self.uses_columns()

    def runs(self) -> int:
        return self.repeats * (1 + self.mutants)

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        timed = {"seconds": pa.float64()} if self.timed else {}
        return {
            "passed": pa.bool_(),
            "verdict": pa.string(),
            "reason": pa.string(),
            "failed_tests": pa.list_(pa.string()),
            "passed_fraction": pa.float64(),
            "mutation_score": pa.float64(),
            "mutants": pa.int32(),
            **trust_types(),
            **timed,
        }

    async def judged(self, row: Row, run: RunsJobs, seed: int) -> Outcome:
        if (error := lacking(row, (self.code, *self.columns()))) is not None:
            return Failed(error)
        program = row[self.code]
        try:
            jobs = self.jobs(program, row)
        except ValueError as error:
            return Failed(str(error))
        judged = await judge(jobs, run, self.repeats)
        score = None
        if judged.passed and self.mutants:
            draw = derive_seed(seed, row["_id"], "mutants")
            score = await convincing(
                program,
                lambda mutant: self.jobs(mutant, row),
                run,
                usual=judged.seconds,
                limits=self.sandbox.limits(),
                most=self.mutants,
                least=self.min_mutation_score,
                seed=draw,
                repeats=self.repeats,
            )
        return Kept(self._told(judged, score))

    def _told(self, judged: Judged, score: MutationScore | None) -> Row:
        verdict, reason = judged.verdict, judged.message
        measured = None if score is None else score.score
        if measured is not None and score is not None and measured < self.min_mutation_score:
            verdict = Verdict.VACUOUS
            first = score.survived[0]
            reason = (
                f"{len(score.survived)} of {score.mutants} mutants pass; one {first.mistake} in line "
                f"{first.line}"
            )
        timed = {"seconds": judged.seconds} if self.timed else {}
        return {
            "passed": verdict is Verdict.PASSED,
            "verdict": verdict.value,
            "reason": encodable(reason) if reason else None,
            "failed_tests": [encodable(name) for name in judged.failed_tests],
            "passed_fraction": judged.fraction,
            "mutation_score": measured,
            "mutants": None if score is None else score.mutants,
            **judged.trust.as_columns(),
            **timed,
        }
