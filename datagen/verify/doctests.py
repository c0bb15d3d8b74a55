"""``verify: doctests``: a program against the examples in its own docstrings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...contracts.outcomes import Kept, Outcome
from ...contracts.rows import Row
from ..edits.doctest_tests import tests_from_doctests
from ..execution.verdict import RunsJobs
from ..sandbox.jobs import Job, RunDoctests
from .verify_code import VerifyCode

if TYPE_CHECKING:
    import pyarrow as pa


class VerifyDoctests(VerifyCode):
    """Runs the examples in a program's own docstrings.

    Example:
        checked: {verify: doctests, from: functions, as_tests: tests}
    """

    code: str = "source"
    """Column with the program."""
    prelude: str | None = None
    """Column with code to run before the program, such as imports. By default there is none."""
    as_tests: str | None = None
    """Name of a column to add, with the same examples as unit tests (null if there are none). They still
    work if the docstring changes. By default it is not added."""

    def columns(self) -> Sequence[str]:
        return () if self.prelude is None else (self.prelude,)

    def jobs(self, program: str, row: Row) -> Sequence[Job]:
        return [RunDoctests(program, "" if self.prelude is None else row[self.prelude])]

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {**super().types(), **({} if self.as_tests is None else {self.as_tests: pa.string()})}

    async def judged(self, row: Row, run: RunsJobs, seed: int) -> Outcome:
        outcome = await super().judged(row, run, seed)
        if self.as_tests is None or not isinstance(outcome, Kept):
            return outcome
        return Kept({**outcome.row, self.as_tests: tests_from_doctests(row[self.code])})
