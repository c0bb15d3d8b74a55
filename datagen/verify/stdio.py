"""``verify: stdio``: a whole program against pairs of standard input and output."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ...contracts.rows import Row
from ..sandbox.jobs import Job, RunScript
from .verify_code import VerifyCode


class VerifyStdio(VerifyCode):
    """Runs a whole program once per pair of standard input and expected output.

    Output is compared line by line, ignoring trailing white space, as in programming contests.

    Example:
        checked: {verify: stdio, from: answers, code: response, pairs: examples}
    """

    pairs: str = "pairs"
    """Column with the pairs: a list of `{stdin, stdout}`, or JSON text of one."""

    def columns(self) -> Sequence[str]:
        return ()

    def uses_columns(self) -> Iterable[str]:
        return (self.code, self.pairs)

    def uses_text(self) -> Iterable[str]:
        return (self.code,)

    def jobs(self, program: str, row: Row) -> Sequence[Job]:
        return [
            RunScript(program, stdin=stdin, stdout=stdout)
            for stdin, stdout in _pairs(row.get(self.pairs), self.pairs)
        ]


def _pairs(given: Any, column: str) -> list[tuple[str, str]]:
    """Parse the pairs. Raises ValueError if it is not a list of at least one pair."""
    try:
        pairs = json.loads(given) if isinstance(given, str) else list(given)
        found = [(pair["stdin"], pair["stdout"]) for pair in pairs]
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(
            f"column {column!r} must be a list of {{stdin, stdout}}, or JSON of one "
            f"({type(error).__name__}: {error})"
        ) from None
    if not found or not all(isinstance(text, str) for pair in found for text in pair):
        raise ValueError(f"column {column!r} must hold at least one pair of texts")
    return found
