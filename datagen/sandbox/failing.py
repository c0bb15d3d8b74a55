"""Why there is no verdict although the tests could be run. Not exceptions that a test's ``except Exception`` catches."""

from __future__ import annotations


class NoVerdict(BaseException):
    """Ends a judged run, whatever the tests make of it: says why, as a sentence."""


class NeedsSharedProcess(NoVerdict):
    """The tests do with the program's objects what cannot be done from another process."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}, which takes tests and program in one process: sandbox: {{shared_process: true}} runs them so, "
            "where the program can forge its verdict"
        )


class SubjectGone(NoVerdict):
    """The program's process ended, or broke off the conversation."""
