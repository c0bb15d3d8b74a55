"""Errors written for people. The command line prints them without a traceback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from .printable import shown

if TYPE_CHECKING:
    from .inference import Usage


class GristmillError(Exception):
    """An error that a person can act on: one message that says what was found and how to fix it.

    The message may quote files, servers and models. Secrets and control sequences are removed here, so that
    it is safe to print, log and store. ``step``: the step at fault. ``row``: the ``_id`` of the row at fault.
    Both are set once, by the first caller that knows them (:func:`of_step`). ``str()`` puts them before the
    message, which must therefore name neither. ``exit_code``: the exit status of the command line.
    """

    exit_code = 1
    #: Is the running step at fault? False for errors that stop the run as a whole.
    blames_step: ClassVar[bool] = True
    #: The parameter of the step that is at fault, and the keys inside of it; empty if it is not known.
    place: tuple[str | int, ...] = ()

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
        # Pickled by its attributes: subclasses take different arguments.
        return _restored, (type(self), self.__dict__)


def _restored(kind: type[GristmillError], fields: Mapping[str, Any]) -> GristmillError:
    error = kind.__new__(kind, fields["message"])
    error.__dict__.update(fields)
    return error


@contextmanager
def of_step(step: str) -> Iterator[None]:
    """Set ``step`` on an error that is raised in this block and names no step yet."""
    try:
        yield
    except GristmillError as error:
        if error.step is None and error.blames_step:
            error.step = step
        raise


@dataclass(frozen=True, slots=True)
class SpecProblem:
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
    """A pipeline file with mistakes: lists each of them once, in the order of the file.

    ``sound``: the specification of what could be read nevertheless, whose plan may show more mistakes.
    """

    exit_code = 2

    def __init__(self, problems: list[SpecProblem], sound: Any = None) -> None:
        self.sound = sound
        # A mistake in a repeated block is found once per repetition.
        self.problems = sorted(dict.fromkeys(problems), key=lambda p: (p.file, p.line, p.column))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class StoreError(GristmillError):
    """The run directory cannot be read or written: names the path and the fix."""


class BudgetReached(GristmillError):
    """A budget of tokens, rows or time is used up: the run stops cleanly and can be resumed."""

    exit_code = 3
    blames_step = False


class ModelError(GristmillError):
    """A model cannot be found, loaded or used as asked."""


class EngineError(GristmillError):
    """An inference engine failed on a batch, or on one request of it.

    ``retryable`` is true if the same requests may succeed on a fresh engine (a dead process,
    a refused connection) and false if they cannot (a prompt longer than the context).
    ``spent``: what was charged for the request nevertheless.
    """

    def __init__(self, message: str, *, retryable: bool, spent: Usage | None = None) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.spent = spent


class DataError(GristmillError):
    """A row or a file of rows does not fit the operator: names the row, the column and the fix."""


class MissingPackage(GristmillError):
    """An optional package is needed and not installed: names it, what needs it, and how to install it."""


class SandboxError(GristmillError):
    """Generated code cannot be run as asked: isolation or a required program is missing."""


class SandboxDied(SandboxError):
    """The sandbox itself failed twice, so nothing is known about the code that it ran.

    There is no result and no verdict: the row is *failed*, and can be tried again.
    """

    retryable = True


def first_line(error: BaseException) -> str:
    """An error of Arrow's is a paragraph; its first line says what is wrong."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(" :")
