"""The result of a run.

It comes from untrusted processes, so the type and size of every field are checked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .limits import KIB, Limits

#: Maximum number of tests of a run, and maximum length of a test's name or message in characters.
MOST_TESTS, LONGEST_TEXT = 1000, 400
#: The largest value of an int64 column, and more seconds than any run takes.
_MOST_LINES, _MOST_SECONDS = 2**63 - 1, 1e9


class Status(StrEnum):
    """The verdict of a run.

    ``passed``: all tests passed. ``failed``: a test failed, or the exit code was not 0. ``error``: the tests
    could not be run. ``vacuous``: no test failed, and none depends on the program. ``timeout`` and
    ``memory``: that limit was exceeded. ``killed``: ended by a signal, or over the limit of output or
    processes. ``refused``: not run at all.

    Every status describes the program. A failure of the sandbox itself is not a status but an exception,
    ``SandboxDied``, so that it cannot be mistaken for a verdict.
    """

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    VACUOUS = "vacuous"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    KILLED = "killed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """One test: its name, whether it passed, and the message of its failure."""

    __test__ = False  # not for pytest to collect

    name: str
    passed: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class JobResult:
    """The result of one run.

    ``message``: why the run did not pass. ``stdout`` and ``stderr``: truncated at the output limit.
    ``seconds``: wall time inside the sandbox. ``cpu_seconds``: processor time of all processes that ended.
    ``lines``: number of lines that the program executed, None if that was not requested or the run did not
    finish. ``program_operators``: the program's own operators that decided a comparison (``Vector.__eq__``),
    empty if all comparisons used plain data. ``shared_process``: tests and program ran in one process, where
    the program can forge its verdict. ``unexplained``: ended by a SIGKILL that the sandbox did not send and
    whose cause is unknown.
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
    unexplained: bool = False

    @property
    def passed(self) -> bool:
        return self.status is Status.PASSED

    @property
    def failed_tests(self) -> tuple[str, ...]:
        """Names of the tests that failed, in the order in which they ran."""
        return tuple(test.name for test in self.tests if not test.passed)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any], limits: Limits) -> JobResult:
        """Build the result from a report of the sandbox. ``limits``: those of the run.

        Long text is truncated, and characters that UTF-8 cannot encode are escaped. A field with a wrong type
        or value makes the run an ``error``. That happens only if the program tampers with its report.
        """
        output = int(limits.output_kib * KIB)
        try:
            status, tests = _status(told["status"]), _tests(told.get("tests", []))
            if status is Status.PASSED and not all(test.passed for test in tests):
                raise ValueError("the run passed, but a test failed")
            return cls(
                status=status,
                message=_text("message", told.get("message", "")),
                tests=tests,
                stdout=_text("stdout", told.get("stdout", ""), output, ""),
                stderr=_text("stderr", told.get("stderr", ""), output, ""),
                seconds=_seconds("seconds", told.get("seconds", 0.0)),
                cpu_seconds=_seconds("cpu_seconds", told.get("cpu_seconds", 0.0)),
                lines=_lines(told.get("lines")),
                program_operators=_names("program_operators", told.get("program_operators", [])),
                shared_process=told.get("shared_process", False) is not False,
                unexplained=told.get("unexplained") is True,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return cls(Status.ERROR, _text("message", f"the run's report is invalid: {error}"))


def _status(told: object) -> Status:
    # REFUSED is set only outside the sandbox.
    if not isinstance(told, str) or told not in tuple(Status) or told == Status.REFUSED:
        raise ValueError(f"status is {_shown(told)}")
    return Status(told)


def _tests(told: object) -> tuple[TestOutcome, ...]:
    """The first tests, up to the maximum. The harness puts failed tests first."""
    if not isinstance(told, list):
        raise ValueError(f"tests is {_shown(told)}")
    found = []
    for name, passed, message in told[:MOST_TESTS]:
        if not isinstance(passed, bool):
            raise ValueError(f"a test's verdict is {_shown(passed)}")
        found.append(TestOutcome(_text("name", name), passed, _text("message", message)))
    return tuple(found)


def _names(field: str, told: object) -> tuple[str, ...]:
    if not isinstance(told, list):
        raise ValueError(f"{field} is {_shown(told)}")
    return tuple(_text(field, name) for name in told[:MOST_TESTS])


def _text(field: str, told: object, most: int = LONGEST_TEXT, more: str = "…") -> str:
    if not isinstance(told, str):
        raise ValueError(f"{field} is {_shown(told)}")
    text = told[: most + 1].encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= most else text[: most - len(more)] + more


def _seconds(field: str, told: object) -> float:
    if isinstance(told, bool) or not isinstance(told, (int, float)):
        raise ValueError(f"{field} is {_shown(told)}")
    if not 0 <= told <= _MOST_SECONDS:  # also refuses NaN
        raise ValueError(f"{field} is {_shown(told)}")
    return float(told)


def _lines(told: object) -> int | None:
    if told is None:
        return None
    if isinstance(told, bool) or not isinstance(told, int) or not 0 <= told <= _MOST_LINES:
        raise ValueError(f"lines is {_shown(told)}")
    return told


def _shown(told: object) -> str:
    """A short text with the type of a value, and the value itself if it is a scalar."""
    kind = type(told).__name__
    return f"{kind} {told!r:.40}" if isinstance(told, (bool, int, float, str)) else kind
