"""How many broken programs a row's tests notice: tests that notice none decide nothing.

Mutation analysis is DeMillo, Lipton and Sayward's ("Hints on Test Data Selection", IEEE Computer 1978).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..mutation.mutants import Mutant, mutants
from ..sandbox.jobs import Job
from ..sandbox.limits import Limits
from ..sandbox.results import Result
from .verdict import Run

#: A mutant has so many times the processor time that the program takes, and at least so many seconds: most that are
#: slower never end, and would be what a run's time goes into.
SLOWER, LEAST = 10.0, 0.4
#: Of that time a mutant's first run has this part, and the others this multiple.
MARGIN = 2.0
#: Tests that notice too few of a few mutants are tried on so many times as many: some may mean the same as the
#: program.
DOUBT = 4
#: How many mutants a verifier runs unless it is told otherwise, and the share that tests must notice: one of a
#: few, since tests may be for a part of a program alone. Of 402 right programs that have mutants (HumanEval,
#: functions with doctests), the tests of one notice none of four.
USUAL_MUTANTS, USUAL_SCORE = 4, 0.1


def slowest(limits: Limits) -> float:
    """The processor seconds of a program above which its mutants cannot be told from what never ends."""
    return limits.cpu_seconds / MARGIN**2


@dataclass(frozen=True, slots=True)
class MutationScore:
    """``drawn``: the mutants that were run; ``results``: for each, that of its first run (of several jobs, the
    first that does not pass). ``cpu_seconds``: the limit that they are noticed with. Some mutants mean the
    same as the program, so few programs reach a score of 1."""

    drawn: tuple[Mutant, ...]
    results: tuple[Result, ...]
    cpu_seconds: float

    @property
    def mutants(self) -> int:
        return len(self.drawn)

    @property
    def noticed(self) -> tuple[bool, ...]:
        """For each mutant, whether the tests do not pass on it."""
        return tuple(not result.passed for result in self.results)

    @property
    def survived(self) -> tuple[Mutant, ...]:
        """The mutants on which every test still passes."""
        return tuple(mutant for mutant, seen in zip(self.drawn, self.noticed, strict=True) if not seen)

    @property
    def score(self) -> float | None:
        """The share that was noticed; None where there is no mutant."""
        return sum(self.noticed) / len(self.drawn) if self.drawn else None


async def convincing(
    program: str, jobs: Callable[[str], Sequence[Job]], run: Run, *, most: int, least: float, **same: Any
) -> MutationScore:
    """As :func:`measure`; where less than the share ``least`` of ``most`` mutants is noticed, that of more mutants."""
    score = await measure(program, jobs, run, most=most, **same)
    if score.score is None or score.score >= least:
        return score
    return await measure(program, jobs, run, most=DOUBT * most, **same)


async def measure(
    program: str,
    jobs: Callable[[str], Sequence[Job]],
    run: Run,
    *,
    usual: float,
    limits: Limits,
    most: int,
    seed: int,
    repeats: int = 2,
    kinds: Sequence[str] | None = None,
) -> MutationScore:
    """Run the jobs that decide a program on ``most`` of its mutants. Whatever is not a pass is noticed.

    ``usual``: processor seconds that the program itself takes; ``limits``: what no run exceeds. Of ``repeats``
    runs the first has half and the others twice the time of the score's ``cpu_seconds``, and other random numbers.
    A mutant whose runs differ (by chance, or because it only just keeps a limit) is left out: another run would not
    confirm it. One run alone has that limit itself. A program that takes longer than :func:`slowest` has no mutants.
    """
    given = min(limits.cpu_seconds / MARGIN, max(LEAST, SLOWER * usual))
    if usual > slowest(limits):
        return MutationScore((), (), given)
    times = [given / MARGIN, *[MARGIN * given] * (repeats - 1)] if repeats > 1 else [given]
    each = [replace(limits, cpu_seconds=time) for time in times]
    drawn = mutants(program, most=most, seed=seed, kinds=kinds)
    found = await asyncio.gather(*(_steady(jobs(mutant.source), run, each) for mutant in drawn))
    kept = [(mutant, result) for mutant, result in zip(drawn, found, strict=True) if result is not None]
    return MutationScore(tuple(mutant for mutant, _ in kept), tuple(result for _, result in kept), given)


async def _steady(jobs: Sequence[Job], run: Run, each: Sequence[Limits]) -> Result | None:
    """The first run's result; None where another run's is not like it."""
    first = await _result(jobs, run, each[0], 0)
    for number, limits in enumerate(each[1:], 1):
        again = await _result(jobs, run, limits, number)
        if (again.status, again.failed_tests) != (first.status, first.failed_tests):
            return None
    return first


async def _result(jobs: Sequence[Job], run: Run, limits: Limits, random_seed: int) -> Result:
    for job in jobs:
        result = await run(replace(job, random_seed=random_seed), limits)
        if not result.passed:
            break
    return result
