"""Runs the examples in docstrings, each example a test."""

from __future__ import annotations

import doctest
import types
from collections.abc import Callable
from typing import Any


class _Runner(doctest.DocTestRunner):
    """Tells each example's end instead of printing it."""

    def __init__(self, note: Callable[[str, BaseException | str | None], None]) -> None:
        super().__init__(verbose=False)
        self._note = note

    def report_start(self, out: Any, test: doctest.DocTest, example: doctest.Example) -> None:
        return None

    def report_success(self, out: Any, test: doctest.DocTest, example: doctest.Example, got: str) -> None:
        self._note(_name(test, example), None)

    def report_failure(self, out: Any, test: doctest.DocTest, example: doctest.Example, got: str) -> None:
        self._note(_name(test, example), f"expected {_line(example.want)}, got {_line(got)}")

    def report_unexpected_exception(
        self, out: Any, test: doctest.DocTest, example: doctest.Example, exc_info: Any
    ) -> None:
        self._note(_name(test, example), exc_info[1])


def run(module: types.ModuleType, note: Callable[[str, BaseException | str | None], None]) -> None:
    """Run every example of the module. ``note`` is told each one's end."""
    runner = _Runner(note)
    for test in doctest.DocTestFinder(recurse=True).find(module, module.__name__):
        if test.examples:
            runner.run(test, out=_silent)


def _silent(text: str) -> None:
    return None


def _name(test: doctest.DocTest, example: doctest.Example) -> str:
    return f"{test.name.partition('.')[2] or test.name} {example.lineno + 1}: {_line(example.source)}"


def _line(text: str) -> str:
    shown = " ".join(text.split())
    return shown if len(shown) <= 120 else shown[:119] + "…"
