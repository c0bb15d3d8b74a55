"""``verify: tests``: a program against unit tests given as code."""

from __future__ import annotations

from collections.abc import Sequence

from ...pipelines.records import Row
from ..sandbox.jobs import Job, RunTests
from .verify_code import VerifyCode


class VerifyTests(VerifyCode):
    """Runs the column ``tests`` (asserts, ``test_*`` functions, ``Test*`` classes) on the column ``code``.
    ``prelude``: a column of code to put before it (the module that a function comes from, say)."""

    tests: str = "tests"
    prelude: str | None = None

    def columns(self) -> Sequence[str]:
        return (self.tests,) if self.prelude is None else (self.tests, self.prelude)

    def jobs(self, program: str, row: Row) -> Sequence[Job]:
        head = "" if self.prelude is None else f"{row[self.prelude]}\n\n"
        return [RunTests(head + program, row[self.tests])]
