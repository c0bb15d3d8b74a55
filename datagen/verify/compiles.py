"""``verify: compiles``: whether a program compiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ...contracts.rows import Row
from ..sandbox.jobs import Compile, Job
from .verify_code import VerifyCode


class VerifyCompiles(VerifyCode):
    """Checks whether a program compiles. Nothing is run.

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
        checked: {verify: compiles, from: answers, code: response}
    """

    mutants: Literal[0] = 0
    """Always 0: mutants compile too, so they have no effect here."""

    def columns(self) -> Sequence[str]:
        return ()

    def jobs(self, program: str, row: Row) -> Sequence[Job]:
        return [Compile(program)]
