"""What became of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """``passed``: all went well. ``failed``: a test (or the exit code) says no. ``error``: the tests could not
    be carried out. ``timeout`` and ``memory``: over that limit. ``killed``: ended by a signal, or over the
    limit of output. ``refused``: not run at all."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    KILLED = "killed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """One test: its name, whether it passed, and what it said if not."""

    __test__ = False  # not for pytest to collect

    name: str
    passed: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """One run. ``message`` says why it did not pass. ``stdout`` and ``stderr`` are cut at the limit of output.

    ``seconds``: wall time inside the sandbox; ``cpu_seconds``: of all its processes that ended. ``lines``: how
    many the program executed, null where that was not asked for or the run did not come to its end.
    ``program_operators``: the program's own operators that decided something (``Vector.__eq__``); empty where all was
    decided on plain data. ``shared_process``: tests and program were in one process, where it can forge its verdict.
    """

    status: Status
    message: str = ""
    tests: tuple[TestOutcome, ...] = ()
    stdout: str = ""
    stderr: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    lines: int | None = None
    program_operators: tuple[str, ...] = ()
    shared_process: bool = False

    @property
    def passed(self) -> bool:
        return self.status is Status.PASSED

    @property
    def failed_tests(self) -> tuple[str, ...]:
        """Names of the tests that failed, in the order in which they ran."""
        return tuple(test.name for test in self.tests if not test.passed)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Result:
        """The result that the sandbox's supervisor sent."""
        tests = tuple(TestOutcome(*test) for test in found.get("tests", ()))
        rest = {
            key: value for key, value in found.items() if key not in ("status", "tests", "program_operators")
        }
        operators = tuple(str(name) for name in found.get("program_operators", ()))
        return cls(status=Status(found["status"]), tests=tests, program_operators=operators, **rest)
