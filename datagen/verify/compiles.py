"""``verify: compiles``: whether a program compiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ...contracts.rows import Row
from ..sandbox.jobs import Compile, Job
from .verify_code import VerifyCode


class VerifyCompiles(VerifyCode):
    """Checks whether a program compiles. Nothing is run.

    Example:
        checked: {verify: compiles, from: answers, code: response}
    """

    mutants: Literal[0] = 0
    """Always 0: mutants compile too, so they have no effect here."""

    def columns(self) -> Sequence[str]:
        return ()

    def jobs(self, program: str, row: Row) -> Sequence[Job]:
        return [Compile(program)]
