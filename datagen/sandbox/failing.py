"""Exceptions that end a judged run without a verdict. ``except Exception`` in a test does not catch them."""

from __future__ import annotations


class NoVerdict(BaseException):
    """Ends a judged run, even if the tests catch it. Its text is the reason."""


class NeedsSharedProcess(NoVerdict):
    """The tests use the program's objects in a way that is impossible from another process."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}, which needs tests and program in one process: use sandbox: {{shared_process: "
            f"true}}, with which "
            "the program can forge its verdict"
        )


class SubjectGone(NoVerdict):
    """The program's process exited or closed its connection to the judge."""
