"""Runs the examples in docstrings. Each that expects something of the program is a test."""

from __future__ import annotations

import doctest
import types
from collections.abc import Callable
from typing import Any

from .suites.examples import telling
from .suites.names import programs


class _Runner(doctest.DocTestRunner):
    """Tells the end of each example that is a test, or fails, instead of printing it."""

    def __init__(self, note: Callable[[str, BaseException | str | None], None]) -> None:
        super().__init__(verbose=False)
        self._note = note
        self.tests: set[int] = set()

    def report_start(self, out: Any, test: doctest.DocTest, example: doctest.Example) -> None:
        return None

    def report_success(self, out: Any, test: doctest.DocTest, example: doctest.Example, got: str) -> None:
        if id(example) in self.tests:
            self._note(_name(test, example), None)

    def report_failure(self, out: Any, test: doctest.DocTest, example: doctest.Example, got: str) -> None:
        self._note(_name(test, example), f"expected {_line(example.want)}, got {_line(got)}")

    def report_unexpected_exception(
        self, out: Any, test: doctest.DocTest, example: doctest.Example, exc_info: Any
    ) -> None:
        self._note(_name(test, example), exc_info[1])


def run(
    module: types.ModuleType,
    note: Callable[[str, BaseException | str | None], None],
    end: Callable[[str, str], None],
) -> None:
    """Run every example of the module. ``note`` is told each one's end, ``end`` where none tests anything."""
    program = [name for name, value in vars(module).items() if programs(name, value)]
    runner, found, tests = _Runner(note), False, 0
    for test in doctest.DocTestFinder(recurse=True).find(module, module.__name__):
        if test.examples:
            tells = telling(test.examples, program)
            runner.tests = {id(each) for each, tell in zip(test.examples, tells, strict=True) if tell}
            found, tests = True, tests + len(runner.tests)
            runner.run(test, out=_silent)
    if found and not tests and not runner.failures:
        end("vacuous", "the examples test nothing: none has a result that depends on the program")


def _silent(text: str) -> None:
    return None


def _name(test: doctest.DocTest, example: doctest.Example) -> str:
    return f"{test.name.partition('.')[2] or test.name} {example.lineno + 1}: {_line(example.source)}"


def _line(text: str) -> str:
    shown = " ".join(text.split())
    return shown if len(shown) <= 120 else shown[:119] + "…"
