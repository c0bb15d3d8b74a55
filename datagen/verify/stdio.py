"""``verify: stdio``: a whole program against pairs of standard input and output."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ...contracts.rows import Row
from ..sandbox.jobs import Job, RunScript
from .verify_code import VerifyCode


class VerifyStdio(VerifyCode):
    """Runs a whole program once per pair of standard input and expected output.

    Output is compared line by line, ignoring trailing white space, as in programming contests.

    Adds:
        passed (bool): whether everything passed.
        verdict (text): passed, failed, error, timeout, memory, killed, refused, flaky or vacuous.
        reason (text): why it did not pass; null if it did.
        failed_tests (list of texts): names of the tests that failed.
        passed_fraction (float64): share of the tests that ran and passed.
        mutation_score (float64): share of the mutants that the tests noticed; null unless the code passes and
            has mutants.
        mutants (int32): number of mutants that were run.
        program_operators (list of texts): operators defined by the program that affected the verdict; empty
            if it depends only on plain data.
        shared_process (bool): whether tests and program ran in one process, where the program can forge its
            verdict.
        seconds (float64): processor time of a run, with `timed: true`. It varies between runs.

    Example:
        checked: {verify: stdio, from: answers, code: response, pairs: examples}
    """

    pairs: str = "pairs"
    """Column with the pairs: a list of `{stdin, stdout}`, or JSON text of one."""

    def columns(self) -> Sequence[str]:
        return ()

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
