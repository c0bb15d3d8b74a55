"""Mutation score: how many mutants of a program its tests notice. Tests that notice none are vacuous.

Mutation analysis: DeMillo, Lipton and Sayward, "Hints on Test Data Selection", IEEE Computer 1978.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..mutation.mutants import Mutant, mutants
from ..sandbox.jobs import Job
from ..sandbox.limits import Limits
from ..sandbox.results import JobResult
from .verdict import RunsJobs

#: Processor time of a mutant: a multiple of the program's, and a minimum in seconds. Most slower mutants
#: never end, and would take most of the time of a run.
SLOWER, LEAST = 10.0, 0.4
#: The first run of a mutant has that time divided by this number, and the others have it times this number.
MARGIN = 2.0
#: If tests notice too few mutants, they are run on this many times as many: some mutants may be equivalent to
#: the program.
DOUBT = 4
#: Defaults of verifiers: the number of mutants, and the share that tests must notice. The share is low
#: because tests may cover only a part of a program. Of 402 correct programs with mutants (HumanEval,
#: functions with doctests), the tests of one notice none of four.
USUAL_MUTANTS, USUAL_SCORE = 4, 0.1


def slowest(limits: Limits) -> float:
    """Return the processor seconds above which mutants cannot be distinguished from infinite loops."""
    return limits.cpu_seconds / MARGIN**2


@dataclass(frozen=True, slots=True)
class MutationScore:
    """The mutants of a program and the results of its tests on them.

    ``drawn``: the mutants that were run. ``results``: the result of the first run of each (of several jobs,
    the first that does not pass). ``cpu_seconds``: the time limit of these runs. Some mutants are equivalent
    to the program, so few programs reach a score of 1.
    """

    drawn: tuple[Mutant, ...]
    results: tuple[JobResult, ...]
    cpu_seconds: float

    @property
    def mutants(self) -> int:
        return len(self.drawn)

    @property
    def noticed(self) -> tuple[bool, ...]:
        """For each mutant, whether the tests notice it, that is, do not pass."""
        return tuple(not result.passed for result in self.results)

    @property
    def survived(self) -> tuple[Mutant, ...]:
        """The mutants on which every test still passes."""
        return tuple(mutant for mutant, seen in zip(self.drawn, self.noticed, strict=True) if not seen)

    @property
    def score(self) -> float | None:
        """The share that was noticed; None if there are no mutants."""
        return sum(self.noticed) / len(self.drawn) if self.drawn else None


async def convincing(
    program: str, jobs: Callable[[str], Sequence[Job]], run: RunsJobs, *, most: int, least: float, **same: Any
) -> MutationScore:
    """Measure as :func:`measure` does, with more mutants if less than the share ``least`` is noticed."""
    score = await measure(program, jobs, run, most=most, **same)
    if score.score is None or score.score >= least:
        return score
    return await measure(program, jobs, run, most=DOUBT * most, **same)


async def measure(
    program: str,
    jobs: Callable[[str], Sequence[Job]],
    run: RunsJobs,
    *,
    usual: float,
    limits: Limits,
    most: int,
    seed: int,
    repeats: int = 2,
    kinds: Sequence[str] | None = None,
) -> MutationScore:
    """Run the jobs that decide a program on ``most`` of its mutants. A mutant that does not pass is noticed.

    ``usual``: processor seconds of the program itself. ``limits``: limits of every run. Of ``repeats`` runs,
    the first has half and the others twice the score's ``cpu_seconds``, and different random numbers. A
    mutant whose runs differ (by chance, or because it is close to a limit) is left out, because another run
    would not confirm it. A single run has the limit itself. A program that takes longer than :func:`slowest`
    has no mutants.
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


async def _steady(jobs: Sequence[Job], run: RunsJobs, each: Sequence[Limits]) -> JobResult | None:
    """Return the result of the first run; None if another run differs."""
    first = await _result(jobs, run, each[0], 0)
    for number, limits in enumerate(each[1:], 1):
        again = await _result(jobs, run, limits, number)
        if (again.status, again.failed_tests) != (first.status, first.failed_tests):
            return None
    return first


async def _result(jobs: Sequence[Job], run: RunsJobs, limits: Limits, random_seed: int) -> JobResult:
    for job in jobs:
        result = await run(replace(job, random_seed=random_seed), limits)
        if not result.passed:
            break
    return result
