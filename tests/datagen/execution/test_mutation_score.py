"""The mutation score: reproducible in another run with the same limit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from gristmill.datagen.execution.mutation_score import DOUBT, MutationScore, convincing, measure
from gristmill.datagen.mutation.mutants import mutants
from gristmill.datagen.sandbox.jobs import Job, RunTests
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.datagen.sandbox.results import JobResult, Status

PROGRAM = "def down(n):\n    while n > 0:\n        n -= 1\n    return n\n"
TESTS = "assert down(3) == 0\nassert down(0) == 0"
ALL = mutants(PROGRAM, most=8, seed=1)


def score(limits: Limits, usual: float, needed: Mapping[str, float]) -> MutationScore:
    """A score of mutants that need the given seconds, and pass if they get them."""

    async def run(job: Job, limits: Limits | None = None, /) -> JobResult:
        assert limits is not None
        assert isinstance(job, RunTests)
        over = needed[job.program] > limits.cpu_seconds
        return JobResult(Status.TIMEOUT if over else Status.PASSED)

    def jobs(program: str) -> list[RunTests]:
        return [RunTests(program, TESTS)]

    return asyncio.run(measure(PROGRAM, jobs, run, usual=usual, limits=limits, most=8, seed=1))


times = st.floats(0.001, 20)


@given(st.floats(0.1, 5), st.floats(0.001, 2), st.lists(times, min_size=len(ALL), max_size=len(ALL)))
def test_a_run_with_the_scores_limit_agrees_with_it(most: float, usual: float, needed: list[float]) -> None:
    need = {mutant.source: time for mutant, time in zip(ALL, needed, strict=True)}
    found = score(Limits(cpu_seconds=most), usual, need)
    assert 0 < found.cpu_seconds <= most / 2
    for mutant, noticed in zip(found.drawn, found.noticed, strict=True):
        assert noticed == (need[mutant.source] > found.cpu_seconds), "confirmed"
    quick = [mutant for mutant in ALL if need[mutant.source] <= usual]
    assert usual > most / 4 or set(quick) <= set(found.drawn), (
        "what is no slower than the program is not left out"
    )


def test_chance_is_found_by_a_repetition_and_otherwise_repeats() -> None:
    limits = Limits()
    program = "import random\n\ndef pick(n):\n    return n + 0 * random.randint(0, 1)\n"
    checks = "assert all(pick(3) == 3 for _ in range(3))"
    with Sandbox(limits, workers=2) as box:

        async def main(repeats: int) -> MutationScore:
            def jobs(program: str) -> list[RunTests]:
                return [RunTests(program, checks)]

            return await measure(
                program,
                jobs,
                box.run,
                usual=0.01,
                limits=limits,
                most=20,
                seed=1,
                repeats=repeats,
                kinds=["constant"],
            )

        once, often = asyncio.run(main(1)), asyncio.run(main(12))
        assert asyncio.run(main(1)).noticed == once.noticed
    chancy = {mutant.source for mutant in once.drawn} - {mutant.source for mutant in often.drawn}
    assert any("1 * random" in source for source in chancy)


def test_a_mutant_that_never_ends_costs_little_and_counts_as_noticed() -> None:
    limits = Limits(cpu_seconds=5)
    with Sandbox(limits, workers=2) as box:

        async def main() -> MutationScore:
            def jobs(program: str) -> list[RunTests]:
                return [RunTests(program, TESTS)]

            return await measure(PROGRAM, jobs, box.run, usual=0.01, limits=limits, most=20, seed=1)

        found = asyncio.run(main())
    assert found.cpu_seconds == 0.4
    endless = [result for result in found.results if result.status is Status.TIMEOUT]
    assert endless
    assert all(result.cpu_seconds < 1.5 for result in endless)
    assert found.score == sum(found.noticed) / found.mutants > 0.5


def test_more_mutants_are_run_before_tests_are_called_vacuous() -> None:
    """If too few of the first mutants are noticed, more are run and all decide; otherwise the first
    decide."""
    first = [mutant.source for mutant in mutants(PROGRAM, most=2, seed=1)]
    more = [mutant.source for mutant in mutants(PROGRAM, most=2 * DOUBT, seed=1)]

    def found(noticed: list[str], least: float = 0.3) -> MutationScore:
        async def run(job: Job, limits: Limits | None = None, /) -> JobResult:
            assert isinstance(job, RunTests)
            return JobResult(Status.FAILED if job.program in noticed else Status.PASSED)

        def jobs(program: str) -> list[RunTests]:
            return [RunTests(program, TESTS)]

        return asyncio.run(
            convincing(PROGRAM, jobs, run, most=2, least=least, usual=0.01, limits=Limits(), seed=1)
        )

    others = [source for source in more if source not in first]
    doubted = found(others)
    assert (doubted.mutants, sum(doubted.noticed)) == (len(more), len(others))
    assert len(others) > 2
    assert found(first[:1]).score == 0.5
    assert found(first[:1]).mutants == 2
    assert found(first[:1], least=0.6).mutants == len(more)
    assert found([]).score == 0
