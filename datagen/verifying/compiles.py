"""``verify: compiles``: whether a program is Python at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ...pipelines.records import Row
from ..sandbox.jobs import Compile, Job
from .verify_code import VerifyCode


class VerifyCompiles(VerifyCode):
    """Compiles the column ``code`` and runs nothing. Mutants all compile, so none are run."""

    mutants: Literal[0] = 0

    def columns(self) -> Sequence[str]:
        return ()

    def jobs(self, program: str, row: Row) -> Sequence[Job]:
        return [Compile(program)]
