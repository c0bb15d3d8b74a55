"""What a run came to, as the process that decides it notes it down."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SHOWN = 400


MOST_TESTS = 1000


@dataclass(slots=True)
class Report:
    """The report of a run.

    ``tests``: (name, passed, message) of each test that ran. ``lines``: number of lines that the program
    executed, if requested.
    """

    tests: list[tuple[str, bool, str]] = field(default_factory=list)
    status: str | None = None
    message: str = ""
    lines: int | None = None
    program_operators: tuple[str, ...] = ()

    def note(self, name: str, error: BaseException | str | None) -> None:
        """Record the outcome of a test. Raises MemoryError, which makes later tests meaningless."""
        if isinstance(error, MemoryError):
            raise error
        text = describe(error) if isinstance(error, BaseException) else error
        self.tests.append((name, error is None, "" if text is None else text[:SHOWN]))

    def end(self, status: str, message: str) -> None:
        self.status, self.message = status, message[:SHOWN]

    def count(self, lines: int, why: str | None) -> None:
        """Record the number of executed lines. ``why``: the reason if that number is not valid."""
        if why is None:
            self.lines = lines
        elif self.status is None:
            self.end("error", f"the program has no cost: {why}")

    def summed_up(self) -> dict[str, Any]:
        failed = [test for test in self.tests if not test[1]]
        if self.status is None and not self.tests:
            self.end("error", "there is no test in the tests")
        elif self.status is None and failed:
            more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            self.end("failed", f"{failed[0][0]}: {failed[0][2]}{more}")
        return {
            "status": self.status or "passed",
            "message": self.message,
            "tests": [*failed, *(test for test in self.tests if test[1])][:MOST_TESTS]
            if len(self.tests) > MOST_TESTS
            else self.tests,
            "lines": self.lines,
            "program_operators": self.program_operators,
        }


def describe(error: BaseException) -> str:
    """Describe an exception in one line, even if its own methods fail."""
    try:
        text = str(error)
    except BaseException:
        text = "(no text)"
    first = text.strip().splitlines()[0] if text.strip() else ""
    return f"{type(error).__name__}: {first}"[:SHOWN] if first else type(error).__name__
