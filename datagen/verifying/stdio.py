"""``verify: stdio``: a whole program against pairs of standard input and output."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ...pipelines.records import Row
from ..sandbox.jobs import Job, RunScript
from .verify_code import VerifyCode


class VerifyStdio(VerifyCode):
    """Runs the column ``code`` once for each pair in the column ``pairs``.

    ``pairs``: JSON text or a list of ``{"stdin": text, "stdout": text}``. Output is compared line by line
    without trailing white space, as judges of programming contests do.
    """

    pairs: str = "pairs"

    def columns(self) -> Sequence[str]:
        return ()

    def jobs(self, program: str, row: Row) -> Sequence[Job]:
        return [
            RunScript(program, stdin=stdin, stdout=stdout)
            for stdin, stdout in _pairs(row.get(self.pairs), self.pairs)
        ]


def _pairs(given: Any, column: str) -> list[tuple[str, str]]:
    """Raises ValueError where it is not a list of at least one pair."""
    try:
        pairs = json.loads(given) if isinstance(given, str) else list(given)
        found = [(pair["stdin"], pair["stdout"]) for pair in pairs]
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(
            f"column {column!r} must be a list of {{stdin, stdout}}, or JSON of one ({type(error).__name__}: {error})"
        ) from None
    if not found or not all(isinstance(text, str) for pair in found for text in pair):
        raise ValueError(f"column {column!r} must hold at least one pair of texts")
    return found
