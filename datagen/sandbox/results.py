"""What became of a run. All of it comes out of the sandbox, so every field is typed and bounded out here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .limits import KIB, Limits

#: Of one run, at the most: tests, and characters of a test's name and of a message.
MOST_TESTS, LONGEST_TEXT = 1000, 400
#: What an int64 column holds, and more seconds than any run has.
_MOST_LINES, _MOST_SECONDS = 2**63 - 1, 1e9


class Status(StrEnum):
    """``passed``: all went well. ``failed``: a test (or the exit code) says no. ``error``: the tests could not
    be carried out. ``vacuous``: no test fails, and none tests anything. ``timeout`` and ``memory``: over that
    limit. ``killed``: ended by a signal, or over the limit of output. ``refused``: not run at all.

    Each says something of the program. That the sandbox itself failed says nothing of it: that is no status but
    an exception, ``SandboxDied``, so that nobody can take it for a verdict."""

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
    ``unexplained``: ended by a SIGKILL that the sandbox neither sent nor knows the reason of.
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
    def from_dict(cls, told: Mapping[str, Any], limits: Limits) -> Result:
        """The result that the sandbox tells, of a run that had these limits.

        Texts are cut, and what UTF-8 has no form for is escaped. A field that is not what it must be makes the run an
        ``error``: no program that leaves its report alone brings that about.
        """
        output = int(limits.output_kib * KIB)
        try:
            status, tests = _status(told["status"]), _tests(told.get("tests", []))
            if status is Status.PASSED and not all(test.passed for test in tests):
                raise ValueError("it passed, and a test of it failed")
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
            return cls(Status.ERROR, _text("message", f"the run's report is not one: {error}"))


def _status(told: object) -> Status:
    if not isinstance(told, str) or told not in tuple(Status) or told == Status.REFUSED:  # only said out here
        raise ValueError(f"status is {_shown(told)}")
    return Status(told)


def _tests(told: object) -> tuple[TestOutcome, ...]:
    """The first ones. The harness puts those that failed first where there are more."""
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
    if not 0 <= told <= _MOST_SECONDS:  # which NaN is not, either
        raise ValueError(f"{field} is {_shown(told)}")
    return float(told)


def _lines(told: object) -> int | None:
    if told is None:
        return None
    if isinstance(told, bool) or not isinstance(told, int) or not 0 <= told <= _MOST_LINES:
        raise ValueError(f"lines is {_shown(told)}")
    return told


def _shown(told: object) -> str:
    """A value and its type, in a few characters whatever it is."""
    kind = type(told).__name__
    return f"{kind} {told!r:.40}" if isinstance(told, (bool, int, float, str)) else kind
