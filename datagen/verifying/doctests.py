"""``verify: doctests``: a program against the examples in its own docstrings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...pipelines.operator import Kept, Outcome
from ...pipelines.records import Row
from ..edits.doctest_tests import tests_from_doctests
from ..sandbox.jobs import Job, RunDoctests
from .verdict import Run
from .verify_code import VerifyCode

if TYPE_CHECKING:
    import pyarrow as pa


class VerifyDoctests(VerifyCode):
    """Runs the doctests of the column ``code``. ``prelude``: a column of code to put before it (imports, say).

    ``as_tests``: the name of a column to add, with the same examples as unit tests (text, null where there are
    none): they go on to work where the docstring is changed.
    """

    code: str = "source"
    prelude: str | None = None
    as_tests: str | None = None

    def columns(self) -> Sequence[str]:
        return () if self.prelude is None else (self.prelude,)

    def jobs(self, program: str, row: Row) -> Sequence[Job]:
        return [RunDoctests(program, "" if self.prelude is None else row[self.prelude])]

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {**super().types(), **({} if self.as_tests is None else {self.as_tests: pa.string()})}

    async def judged(self, row: Row, run: Run, seed: int) -> Outcome:
        outcome = await super().judged(row, run, seed)
        if self.as_tests is None or not isinstance(outcome, Kept):
            return outcome
        return Kept({**outcome.row, self.as_tests: tests_from_doctests(row[self.code])})
