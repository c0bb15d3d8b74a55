"""``verify: tests``: a program against unit tests given as code."""

from __future__ import annotations

from collections.abc import Sequence

from ...pipelines.records import Row
from ..sandbox.jobs import Job, RunTests
from .verify_code import VerifyCode


class VerifyTests(VerifyCode):
    """Runs the column ``tests`` (asserts, ``test_*`` functions, ``Test*`` classes) on the column ``code``."""

    tests: str = "tests"

    def columns(self) -> Sequence[str]:
        return (self.tests,)

    def jobs(self, program: str, row: Row) -> Sequence[Job]:
        return [RunTests(program, row[self.tests])]
