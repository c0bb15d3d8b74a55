"""``verify: reference``: a function against a reference implementation on generated arguments."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import PositiveInt

from ...contracts.rows import Row
from ..sandbox.jobs import Compare, Job
from .verify_code import VerifyCode


class VerifyReference(VerifyCode):
    """Compares a function with a reference implementation on generated arguments.

    Results, exceptions and changes to arguments are compared.

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

    Example:
        checked: {verify: reference, from: answers, code: response, reference: source, calls: 100}
    """

    reference: str = "reference"
    """Column with the reference implementation."""
    function: str = "name"
    """Column with the name of the function to call."""
    inputs: str | None = None
    """Column with code that defines `inputs(rng)`, which returns the arguments of one call as a tuple. By
    default they are drawn from the annotations of the reference."""
    calls: PositiveInt = 50
    """Calls to compare."""
    draw: int = 0
    """Seed of the arguments, which are the same for every row."""

    def columns(self) -> Sequence[str]:
        more = () if self.inputs is None else (self.inputs,)
        return (self.reference, self.function, *more)

    def jobs(self, program: str, row: Row) -> Sequence[Job]:
        inputs = "" if self.inputs is None else row[self.inputs]
        return [
            Compare(
                program,
                row[self.reference],
                row[self.function],
                inputs=inputs,
                count=self.calls,
                seed=self.draw,
            )
        ]
