"""The errors that a person is meant to read. The command line prints them without a traceback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from .printable import shown


class GristmillError(Exception):
    """Something a person can act on: one message that says what was found and how to mend it.

    The message may quote files, servers and models: it loses its secrets and control sequences here, so whoever prints,
    logs or stores it can do no harm. ``step``: the step at fault. ``row``: the ``_id`` of the row at fault. Both are set
    once, by whoever knows them first (:func:`of_step`), and ``str()`` puts them before the message, which therefore names
    neither. ``exit_code`` is what the command line exits with.
    """

    exit_code = 1
    #: Is a step at fault where one is at work? Not for what stops the run as a whole.
    blames_step: ClassVar[bool] = True

    def __init__(self, message: str = "", *, step: str | None = None, row: str | None = None) -> None:
        self.message = shown(message)
        self.step = step
        self.row = row
        super().__init__(self.message)

    def __str__(self) -> str:
        places = {"step": self.step, "row": self.row}
        told = [f"{what} {name}" for what, name in places.items() if name is not None]
        return ": ".join([*told, self.message])

    def __reduce__(self) -> tuple[object, ...]:
        # As it is, for other processes: what a kind of error takes to be made is no part of this.
        return _restored, (type(self), self.__dict__)


def _restored(kind: type[GristmillError], fields: Mapping[str, Any]) -> GristmillError:
    error = kind.__new__(kind, fields["message"])
    error.__dict__.update(fields)
    return error


@contextmanager
def of_step(step: str) -> Iterator[None]:
    """An error that passes here and names no step yet is one of ``step``."""
    try:
        yield
    except GristmillError as error:
        if error.step is None and error.blames_step:
            error.step = step
        raise


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a file: where it is, what was found, and the fix."""

    file: str
    line: int
    column: int
    field: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}"
        return f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"


class SpecError(GristmillError):
    """A pipeline file with mistakes: all of them, in the order of the file, each once."""

    exit_code = 2

    def __init__(self, problems: list[Problem]) -> None:
        # One mistake in a block that is repeated is found in each of its turns.
        self.problems = sorted(dict.fromkeys(problems), key=lambda p: (p.file, p.line, p.column))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class StoreError(GristmillError):
    """The run directory cannot be read or written: names the path and the way out."""


class BudgetReached(GristmillError):
    """A budget of tokens, rows or time is spent: the run stops cleanly and can be resumed."""

    exit_code = 3
    blames_step = False


class ModelError(GristmillError):
    """A model cannot be found, loaded or used as asked."""


class EngineError(GristmillError):
    """An inference engine failed on a batch.

    ``retryable`` is true where the same requests may succeed on a fresh engine (a dead process,
    a refused connection) and false where they cannot (a prompt longer than the context).
    """

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


class DataError(GristmillError):
    """A row or a file of rows is not what an operator needs: names the row, column and fix."""


class SandboxError(GristmillError):
    """Generated code cannot be run as asked: no isolation, or what it needs is not there."""


class SandboxDied(SandboxError):
    """The sandbox itself failed, twice, while it ran something: that says nothing of what it ran.

    No result and no verdict, so that a row for which it is raised is *failed*, and may be tried again.
    """

    retryable = True
