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
    """``survived``: mutants on which every test still passes. Some of them mean the same as the program,
    so few programs reach a score of 1."""

    mutants: int
    survived: tuple[Mutant, ...]

    @property
    def score(self) -> float | None:
        """The share that was noticed; None where the program has no mutants."""
        return 1 - len(self.survived) / self.mutants if self.mutants else None


async def measure(
    program: str, jobs: Callable[[str], Sequence[Job]], run: Run, *, most: int, seed: int
) -> MutationScore:
    """Run the jobs that decide a program on ``most`` of its mutants. Whatever is not a pass is noticed."""
    made = mutants(program, most=most, seed=seed)
    survived = [mutant for mutant in made if await _passes(jobs(mutant.source), run)]
    return MutationScore(len(made), tuple(survived))


async def _passes(jobs: Sequence[Job], run: Run) -> bool:
    for job in jobs:
        if not (await run(job)).passed:
            return False
    return True
