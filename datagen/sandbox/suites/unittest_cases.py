"""Runs the methods of ``unittest`` test cases one by one."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any

from .pytest_stand_in import XFailed


class _Result(unittest.TestResult):
    """Keeps the first exception object instead of its text."""

    def __init__(self, case: type[unittest.TestCase]) -> None:
        super().__init__()
        self.case = case
        self.error: BaseException | None = None

    def _keep(self, error: BaseException) -> None:
        self.error = self.error or error

    def addError(self, test: Any, err: Any) -> None:
        self._keep(err[1])

    def addFailure(self, test: Any, err: Any) -> None:
        self._keep(err[1])

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err is not None:
            self._keep(err[1])

    def addSkip(self, test: Any, reason: str) -> None:
        if isinstance(test, self.case):  # a skipped subtest does not skip the test
            self._keep(unittest.SkipTest(reason))

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        self._keep(XFailed(""))

    def addUnexpectedSuccess(self, test: Any) -> None:
        self._keep(AssertionError("unexpected success: the test was expected to fail"))


def method(case: type[unittest.TestCase], name: str) -> Callable[[], None]:
    """A function that runs one method of a test case.

    Calling it raises what the method raises, or SkipTest if the method was skipped.
    """

    def call() -> None:
        result = _Result(case)
        case(name).run(result)
        if result.error is not None:
            raise result.error

    return call


def names(case: type[unittest.TestCase]) -> list[str]:
    return list(unittest.TestLoader().getTestCaseNames(case))


def begin(case: type[unittest.TestCase]) -> None:
    """Set up a test case for all of its methods. Raises what ``setUpClass`` raises."""
    if not getattr(case, "__unittest_skip__", False):
        case.setUpClass()


def finish(case: type[unittest.TestCase]) -> None:
    if not getattr(case, "__unittest_skip__", False):
        case.tearDownClass()
        case.doClassCleanups()
