"""A replacement for pytest with the parts that generated tests use.

In the process that runs the tests, ``import pytest`` imports this module. It describes tests (marks,
parameters, fixtures) for :mod:`collecting`, and has ``raises``, ``approx``, ``warns``, ``skip`` and ``fail``.
Anything else raises an AttributeError with an explanation.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, NoReturn, TypeVar

from .approx import Approx as approx
from .builtin_fixtures import CaptureFixture, FixtureRequest, LogCaptureFixture, MonkeyPatch, TempPathFactory
from .marks import Mark, MarkDecorator, Marks, fixture, param

__all__ = [
    "CaptureFixture", "ExceptionInfo", "FixtureRequest", "LogCaptureFixture", "Mark", "MarkDecorator",
    "MonkeyPatch", "TempPathFactory", "approx", "deprecated_call", "exit", "fail", "fixture", "importorskip",
    "main", "mark", "param", "raises", "skip", "warns", "xfail", "yield_fixture",
]  # fmt: skip

E = TypeVar("E", bound=BaseException)
mark = Marks()
yield_fixture = fixture


class Outcome(BaseException):
    """Ends a test. ``except Exception`` in the test does not catch it."""


class PytestFailed(Outcome): ...


PytestFailed.__name__ = "Failed"  # what messages call it, as pytest's do


class Skipped(Outcome): ...


class XFailed(Outcome): ...


def fail(reason: str = "", pytrace: bool = True, msg: str = "") -> NoReturn:
    raise PytestFailed(reason or msg)


def skip(reason: str = "", *, allow_module_level: bool = False, msg: str = "") -> NoReturn:
    raise Skipped(reason or msg)


def xfail(reason: str = "") -> NoReturn:
    raise XFailed(reason)


def exit(reason: str = "", returncode: int | None = None) -> NoReturn:
    raise PytestFailed(f"pytest.exit: {reason}")


fail.Exception = PytestFailed  # type: ignore[attr-defined]
skip.Exception = Skipped  # type: ignore[attr-defined]
xfail.Exception = XFailed  # type: ignore[attr-defined]


def importorskip(modname: str, minversion: str | None = None, reason: str | None = None, **more: Any) -> Any:
    try:
        __import__(modname)
    except ImportError:
        raise Skipped(reason or f"could not import {modname!r}") from None
    return sys.modules[modname]


def main(*args: Any, **kwargs: Any) -> int:
    """Do nothing, since the tests are run anyway."""
    return 0


class ExceptionInfo(Generic[E]):
    """The exception that ``raises`` caught."""

    value: E
    tb: TracebackType | None = None

    @property
    def type(self) -> type[E]:
        return type(self.value)

    @property
    def typename(self) -> str:
        return self.type.__name__

    def match(self, regexp: str | re.Pattern[str]) -> bool:
        if not re.search(regexp, str(self.value)):
            pattern = regexp if isinstance(regexp, str) else regexp.pattern
            raise AssertionError(f"{str(self.value)!r} does not match {pattern!r}")
        return True

    def exconly(self, tryshort: bool = False) -> str:
        return f"{self.typename}: {self.value}"

    def errisinstance(self, kind: Any) -> bool:
        return isinstance(self.value, kind)

    def __str__(self) -> str:
        return repr(self)

    def __repr__(self) -> str:
        return (
            f"<ExceptionInfo {self.value!r}>"
            if hasattr(self, "value")
            else "<ExceptionInfo for raises contextmanager>"
        )


class _Raises:
    def __init__(self, expected: tuple[type[BaseException], ...], match: Any, check: Any) -> None:
        self.expected, self.match, self.check = expected, match, check
        self.info: ExceptionInfo[Any] = ExceptionInfo()

    def __enter__(self) -> ExceptionInfo[Any]:
        return self.info

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        names = " or ".join(each.__name__ for each in self.expected)
        if kind is None or error is None:
            raise PytestFailed(f"did not raise {names}")
        # Checks the bases themselves, so that a metaclass has no influence.
        if not any(each in kind.__mro__ for each in self.expected):
            return False
        self.info.value, self.info.tb = error, trace
        if self.match is not None:
            self.info.match(self.match)
        if self.check is not None and not self.check(error):
            raise PytestFailed(f"raised {error!r}, which does not pass the check")
        return True


def raises(
    expected_exception: Any = BaseException, *args: Any, match: Any = None, check: Any = None, **kwargs: Any
) -> Any:
    """A context manager; with a function and its arguments, the exception that the call raised."""
    kinds = expected_exception if isinstance(expected_exception, tuple) else (expected_exception,)
    if not kinds or not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
        raise TypeError(f"raises: expected an exception type, got {expected_exception!r}")
    context = _Raises(kinds, match, check)
    if not args:
        if kwargs:
            raise TypeError(f"raises: unknown argument {next(iter(kwargs))!r}")
        return context
    with context as info:
        args[0](*args[1:], **kwargs)
    return info


class _Warns:
    def __init__(self, expected: tuple[type[Warning], ...], match: Any) -> None:
        self.expected, self.match = expected, match
        self.catch = warnings.catch_warnings(record=True)

    def __enter__(self) -> Any:
        self.seen = self.catch.__enter__()
        warnings.simplefilter("always")
        return self.seen

    def __exit__(self, kind: type[BaseException] | None, *more: Any) -> None:
        self.catch.__exit__(kind, *more)
        if kind is not None:
            return
        fit = [each for each in self.seen or () if issubclass(each.category, self.expected)]
        if not any(self.match is None or re.search(self.match, str(each.message)) for each in fit):
            names = " or ".join(each.__name__ for each in self.expected)
            matching = "" if self.match is None else f" that matches {self.match!r}"
            raise PytestFailed(f"no {names}{matching} was given")


def warns(
    expected_warning: Any = Warning, *args: Callable[..., Any], match: Any = None, **kwargs: Any
) -> Any:
    context = _Warns(expected_warning if isinstance(expected_warning, tuple) else (expected_warning,), match)
    if not args:
        return context
    with context:
        return args[0](*args[1:], **kwargs)


def deprecated_call(*args: Callable[..., Any], match: Any = None, **kwargs: Any) -> Any:
    return warns((DeprecationWarning, PendingDeprecationWarning, FutureWarning), *args, match=match, **kwargs)


def __getattr__(name: str) -> NoReturn:
    raise AttributeError(
        f"pytest.{name} is not available: tests run without pytest itself, with {', '.join(__all__)}"
    )
