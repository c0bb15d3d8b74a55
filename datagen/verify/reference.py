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
