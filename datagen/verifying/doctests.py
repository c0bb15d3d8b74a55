"""``verify: doctests``: a program against the examples in its own docstrings."""

from __future__ import annotations

from collections.abc import Sequence

from ...pipelines.records import Row
from ..sandbox.jobs import Job, RunDoctests
from .verify_code import VerifyCode


class VerifyDoctests(VerifyCode):
    """Runs the doctests of the column ``code``. ``prelude``: a column of code to put before it (imports, say)."""

    code: str = "source"
    prelude: str | None = None

    def columns(self) -> Sequence[str]:
        return () if self.prelude is None else (self.prelude,)

    def jobs(self, program: str, row: Row) -> Sequence[Job]:
        return [RunDoctests(program, "" if self.prelude is None else row[self.prelude])]
