"""``verify: cost``: whether a program executes fewer lines than another in the same tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt

from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from ..execution.by_running import ByRunning, encodable, lacking
from ..execution.verdict import RunsJobs, Trust, Verdict, trust_types
from ..sandbox.jobs import RunTests
from ..sandbox.results import JobResult

if TYPE_CHECKING:
    import pyarrow as pa


#: The verdict of a program that passes but is not cheap enough.
COSTLY = "costly"


@dataclass(frozen=True, slots=True)
class ExecutionCost:
    """The cost of one run.

    ``lines``: number of lines that the program executed during its tests; None unless they passed.
    ``verdict`` and ``message``: the result of that run.
    """

    lines: int | None
    verdict: Verdict
    message: str
    result: JobResult


async def cost(program: str, tests: str, run: RunsJobs) -> ExecutionCost:
    """Run the tests once and count lines. The same program and tests give the same count."""
    result = await run(RunTests(program, tests, count_lines=True))
    return ExecutionCost(
        result.lines if result.passed else None, Verdict(result.status.value), result.message, result
    )


def ratio(lines: int, against: int) -> float:
    """Return ``lines`` / ``against``; 1 if neither program executes a line of its own."""
    return lines / against if against else (1.0 if not lines else float("inf"))


async def alternating_seconds(
    programs: tuple[str, str], tests: str, run: RunsJobs, repeats: int
) -> tuple[float, float]:
    """Return the median processor time of each over ``repeats`` alternating runs."""
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for place in (0, 1):
            spent[place].append((await run(RunTests(programs[place], tests))).cpu_seconds)
    return median(spent[0]), median(spent[1])


class VerifyCost(ByRunning):
    """Checks whether a program executes fewer lines than another in the same tests.

    Both programs must pass the tests. Executed lines are counted in the sandbox and are the same in every
    run. A loop on one line counts once per iteration. Built-in functions, the standard library and installed
    packages are not counted.

    Adds:
        passed (bool): whether both programs pass the tests and the first is cheap enough.
        verdict (text): a verdict of `verify: tests`, or `costly` if it passes but is not cheap enough.
        reason (text): why it did not pass; null if it did.
        lines (int64): number of lines that the program executes; null if it does not pass.
        lines_against (int64): number of lines that the other program executes.
        cost_ratio (float64): `lines` divided by `lines_against`.
        seconds (float64): median processor time, with `timed: true`.
        seconds_against (float64): the same of the other program.
        program_operators (list of texts): operators defined by the program that affected the verdict.
        shared_process (bool): whether tests and program ran in one process, where the program can forge its
            verdict.

    Example:
        cheaper: {verify: cost, from: pairs, code: after, against: worse, max_ratio: 0.95}
    """

    code: str = "code"
    """Column with the program."""
    against: str = "against"
    """Column with the program to compare it with."""
    tests: str = "tests"
    """Column with the unit tests that both must pass."""
    prelude: str | None = None
    """Column with code to run before both. By default there is none."""
    max_ratio: float = Field(0.95, gt=0)
    """Maximum number of executed lines, as a multiple of the other program's."""
    timed: bool = False
    """Also measure processor time. It varies between runs and does not affect the verdict."""
    repeats: PositiveInt = 3
    """Alternating runs of each program for the median time. Only used with `timed`."""

    def uses_columns(self) -> Sequence[str]:
        return (self.code, self.against, self.tests, *([self.prelude] if self.prelude else []))

    def uses_text(self) -> Sequence[str]:
        return self.uses_columns()

    def runs(self) -> int:
        return 2 + (2 * self.repeats if self.timed else 0)

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        timed = {"seconds": pa.float64(), "seconds_against": pa.float64()} if self.timed else {}
        return {
            "passed": pa.bool_(),
            "verdict": pa.string(),
            "reason": pa.string(),
            "lines": pa.int64(),
            "lines_against": pa.int64(),
            "cost_ratio": pa.float64(),
            **trust_types(),
            **timed,
        }

    async def judged(self, row: Row, run: RunsJobs, seed: int) -> Outcome:
        if (error := lacking(row, self.uses_columns())) is not None:
            return Failed(error)
        before = f"{row[self.prelude]}\n\n" if self.prelude else ""
        programs = (before + row[self.code], before + row[self.against])
        own, other = [await cost(program, row[self.tests], run) for program in programs]
        told: Row = {"lines": own.lines, "lines_against": other.lines, "cost_ratio": None}
        told |= Trust.of((own.result, other.result)).as_columns()
        if self.timed:
            told |= {"seconds": None, "seconds_against": None}
        for name, found in ((self.code, own), (self.against, other)):
            if found.lines is None:
                verdict, reason = found.verdict.value, encodable(f"{name}: {found.message}")
                return Kept({**told, "passed": False, "verdict": verdict, "reason": reason})
        assert own.lines is not None
        assert other.lines is not None
        told["cost_ratio"] = ratio(own.lines, other.lines)
        if self.timed:
            seconds = await alternating_seconds(programs, row[self.tests], run, self.repeats)
            told["seconds"], told["seconds_against"] = seconds
        if told["cost_ratio"] > self.max_ratio:
            reason = f"executes {own.lines} lines; {self.against} executes {other.lines}"
            return Kept({**told, "passed": False, "verdict": COSTLY, "reason": reason})
        return Kept({**told, "passed": True, "verdict": Verdict.PASSED.value, "reason": None})
