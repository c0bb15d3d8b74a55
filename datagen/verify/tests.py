"""``verify: tests``: a program against unit tests given as code."""

from __future__ import annotations

from collections.abc import Sequence

from ...contracts.rows import Row
from ..sandbox.jobs import Job, RunTests
from .verify_code import VerifyCode


class VerifyTests(VerifyCode):
    """Runs unit tests on a program: asserts, ``test_*`` functions, ``Test*`` classes and ``unittest`` cases.

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
        checked: {verify: tests, from: answers, code: response, mutants: 10, repeats: 2}
    """

    tests: str = "tests"
    """Column with the unit tests."""
    prelude: str | None = None
    """Column with code to run before the program, such as the module of a function. By default there is
    none."""

    def columns(self) -> Sequence[str]:
        return (self.tests,) if self.prelude is None else (self.tests, self.prelude)

    def jobs(self, program: str, row: Row) -> Sequence[Job]:
        head = "" if self.prelude is None else f"{row[self.prelude]}\n\n"
        return [RunTests(head + program, row[self.tests])]
