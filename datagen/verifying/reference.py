"""``verify: reference``: a function against a reference implementation on generated arguments."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import PositiveInt

from ...pipelines.records import Row
from ..sandbox.jobs import Compare, Job
from .verify_code import VerifyCode


class VerifyReference(VerifyCode):
    """Calls the function named in the column ``function`` of ``code`` and of ``reference`` on ``calls`` draws.

    ``inputs``: a column of code that defines ``inputs(rng)``, which returns one call's tuple of arguments;
    without it they are drawn from the reference's annotations. The draws are the same for every row.
    """

    reference: str = "reference"
    function: str = "name"
    inputs: str | None = None
    calls: PositiveInt = 50
    draw: int = 0

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
