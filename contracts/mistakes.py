"""Several mistakes found in one pass, each with its place among the parameters of a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from .errors import DataError, GristmillError


class Mistakes(DataError):
    """Several errors. ``errors``: each of them."""

    def __init__(self, errors: Sequence[GristmillError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(error.message for error in errors))


class ColumnError(DataError):
    """A ``column`` that a step needs is missing, or holds something else."""

    def __init__(self, message: str, column: str) -> None:
        self.column = column
        super().__init__(message)


class Collected:
    """Goes on after an error, and raises all of them together at the end.

    Use it as ``with Collected() as found:``, and in it ``with found.at("columns", name):`` around each part
    that may raise. A single error is raised as it is, several as :class:`Mistakes`.
    """

    def __init__(self) -> None:
        self.errors: list[GristmillError] = []

    def add(self, error: GristmillError, *place: str | int) -> None:
        """Note an error. ``place``: the parameter that it is about, and the keys inside of it."""
        for each in _placed(error, place):
            if str(each) not in map(str, self.errors):
                self.errors.append(each)

    @contextmanager
    def at(self, *place: str | int) -> Iterator[None]:
        """Note an error of this block."""
        try:
            yield
        except GristmillError as error:
            self.add(error, *place)

    def __enter__(self) -> Collected:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None or not self.errors:
            return
        if len(self.errors) == 1:
            raise self.errors[0]
        raise Mistakes(self.errors)


@contextmanager
def at(*place: str | int) -> Iterator[None]:
    """Set the place of errors that are raised in this block: a parameter, and the keys inside of it."""
    try:
        yield
    except GristmillError as error:
        _placed(error, place)
        raise


def _placed(error: GristmillError, place: tuple[str | int, ...]) -> list[GristmillError]:
    errors = single(error)
    for each in errors:
        each.place = (*place, *each.place)
    return errors


def single(error: GristmillError) -> list[GristmillError]:
    """The errors that one error stands for: those of :class:`Mistakes`, or itself."""
    return list(error.errors) if isinstance(error, Mistakes) else [error]
