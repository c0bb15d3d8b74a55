"""``verify: tests``: a program against unit tests given as code."""

from __future__ import annotations

from collections.abc import Sequence

from ...contracts.rows import Row
from ..sandbox.jobs import Job, RunTests
from .verify_code import VerifyCode


class VerifyTests(VerifyCode):
    """Runs unit tests on a program: asserts, ``test_*`` functions, ``Test*`` classes and ``unittest`` cases.

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
