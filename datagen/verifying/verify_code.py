"""What the operators that verify a row by running its code have in common."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from ...pipelines.inference import derive_seed
from ...pipelines.operator import Apply, Failed, Kept, Map, Outcome
from ...pipelines.records import Row
from ..sandbox.jobs import Job
from .boxes import SandboxSettings, shared
from .mutation_score import MutationScore, measure
from .verdict import Judged, Run, Verdict, judge

if TYPE_CHECKING:
    import pyarrow as pa

    from ...pipelines.operator import Context


class VerifyCode(Map):
    """Adds what running the column ``code`` shows, and filters nothing: ``keep: "passed"`` does that.

    ``passed`` bool; ``verdict`` text (passed, failed, error, timeout, memory, killed, refused, flaky or
    vacuous); ``reason`` text, null where it passed; ``failed_tests`` list<text>; ``passed_fraction``
    float64; ``mutation_score`` float64 in 0 .. 1 and ``mutants`` int32, null where it was not measured.
    With ``timed``, ``seconds`` float64: processor time of a run, which differs from run to run.

    ``repeats``: how often all is run; where the outcomes differ the verdict is flaky. ``mutants``: on how
    many mutants of a program that passes its tests are run; where the share that they notice is below
    ``min_mutation_score``, the verdict is vacuous. A row without text in a column that is needed fails.
    """

    makes: ClassVar[bool] = False
    seeded: ClassVar[bool] = True
    batch_rows: ClassVar[int] = 64

    code: str = "solution"
    repeats: PositiveInt = 1
    mutants: NonNegativeInt = 0
    min_mutation_score: float = Field(0.0, ge=0, le=1)
    timed: bool = False
    sandbox: SandboxSettings = SandboxSettings()

    @abstractmethod
    def columns(self) -> Sequence[str]:
        """The text columns that :meth:`jobs` needs, beside ``code``."""

    @abstractmethod
    def jobs(self, program: str, row: Row) -> Sequence[Job]:
        """What decides whether a program is right for a row: at least one job, all of which must pass.

        Raises ValueError where the row's columns are not what they must be.
        """

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
            **timed,
        }

    def summary(self, table: pa.Table) -> Mapping[str, Any]:
        """How many rows got each verdict."""
        counted = table["verdict"].value_counts().to_pylist()
        return {str(each["values"]): int(each["counts"]) for each in counted}

    def open(self, context: Context) -> Apply:
        box, seed = shared(self.sandbox), context.seed

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            return [
                [outcome]
                for outcome in await asyncio.gather(*(self._row(row, box.run, seed) for row in rows))
            ]

        return apply

    async def _row(self, row: Row, run: Run, seed: int) -> Outcome:
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
            score = await measure(
                program, lambda mutant: self.jobs(mutant, row), run, most=self.mutants, seed=draw
            )
        return Kept(self._told(judged, score))

    def _told(self, judged: Judged, score: MutationScore | None) -> Row:
        verdict, reason = judged.verdict, judged.message
        measured = None if score is None else score.score
        if measured is not None and score is not None and measured < self.min_mutation_score:
            verdict = Verdict.VACUOUS
            first = score.survived[0]
            reason = f"{len(score.survived)} of {score.mutants} mutants pass; one {first.mistake} in line {first.line}"
        timed = {"seconds": judged.seconds} if self.timed else {}
        return {
            "passed": verdict is Verdict.PASSED,
            "verdict": verdict.value,
            "reason": encodable(reason) if reason else None,
            "failed_tests": [encodable(name) for name in judged.failed_tests],
            "passed_fraction": judged.fraction,
            "mutation_score": measured,
            "mutants": None if score is None else score.mutants,
            **timed,
        }


def lacking(row: Row, columns: Sequence[str]) -> str | None:
    """What is wrong with the first of the columns that holds no text; None where all do."""
    for column in columns:
        if not isinstance(row.get(column), str):
            found = f"holds {type(row[column]).__name__}" if column in row else "is missing"
            return f"column {column!r} {found}, and text is needed"
    return None


def encodable(text: str) -> str:
    """The text without what UTF-8, and so Arrow, has no form for."""
    return text.encode("utf-8", "replace").decode()
