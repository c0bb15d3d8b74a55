"""How many broken programs a row's tests notice: tests that notice none decide nothing.

Mutation analysis is DeMillo, Lipton and Sayward's ("Hints on Test Data Selection", IEEE Computer 1978).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..mutation.mutants import Mutant, mutants
from ..sandbox.jobs import Job
from .verdict import Run


@dataclass(frozen=True, slots=True)
class MutationScore:
    """``drawn``: the mutants that were run; ``noticed``: for each, whether a test failed on it. Some of them
    mean the same as the program, so few programs reach a score of 1."""

    drawn: tuple[Mutant, ...]
    noticed: tuple[bool, ...]

    @property
    def mutants(self) -> int:
        return len(self.drawn)

    @property
    def survived(self) -> tuple[Mutant, ...]:
        """The mutants on which every test still passes."""
        return tuple(mutant for mutant, seen in zip(self.drawn, self.noticed, strict=True) if not seen)

    @property
    def score(self) -> float | None:
        """The share that was noticed; None where the program has no mutants."""
        return sum(self.noticed) / len(self.drawn) if self.drawn else None


async def measure(
    program: str, jobs: Callable[[str], Sequence[Job]], run: Run, *, most: int, seed: int
) -> MutationScore:
    """Run the jobs that decide a program on ``most`` of its mutants. Whatever is not a pass is noticed."""
    drawn = mutants(program, most=most, seed=seed)
    noticed = [not await _passes(jobs(mutant.source), run) for mutant in drawn]
    return MutationScore(tuple(drawn), tuple(noticed))


async def _passes(jobs: Sequence[Job], run: Run) -> bool:
    for job in jobs:
        if not (await run(job)).passed:
            return False
    return True
