"""Runs the examples in docstrings. An example whose expected output depends on the program is a test."""

from __future__ import annotations

import ast
import doctest
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .suites.examples import telling
from .suites.names import programs

NOTHING_TESTED = "the examples test nothing: none has a result that depends on the program"


class _Runner(doctest.DocTestRunner):
    """Reports each example that is a test, and each failure, through a callback instead of printing it."""

    def __init__(self, note: Callable[[str, BaseException | str | None], None]) -> None:
        super().__init__(verbose=False)
        self._note = note
        self._any_examples = False
        self._counted = 0
        #: Ids of the examples of the current docstring that are tests.
        self._tests: set[int] = set()

    def examine(self, test: doctest.DocTest, program: Iterable[str]) -> None:
        """Run the examples of one docstring. ``program``: the program's names that they can use."""
        tells = telling(test.examples, list(program))
        self._tests = {id(each) for each, tell in zip(test.examples, tells, strict=True) if tell}
        self._any_examples, self._counted = True, self._counted + len(self._tests)
        self.run(test, out=_silent)

    def finish(self, end: Callable[[str, str], None]) -> None:
        """Call ``end`` if there were examples but none of them tests anything."""
        if self._any_examples and not self._counted and not self.failures:
            end("vacuous", NOTHING_TESTED)

    def report_start(self, out: Any, test: doctest.DocTest, example: doctest.Example) -> None:
        return None

    def report_success(self, out: Any, test: doctest.DocTest, example: doctest.Example, got: str) -> None:
        if id(example) in self._tests:
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
    """Run every example of the module.

    ``note`` gets the outcome of each example. ``end`` is called if no example tests anything.
    """
    program = [name for name, value in vars(module).items() if programs(name, value)]
    runner = _Runner(note)
    for test in doctest.DocTestFinder(recurse=True).find(module, module.__name__):
        if test.examples:
            runner.examine(test, program)
    runner.finish(end)


def run_apart(
    program: str,
    bring: Callable[[str, str], dict[str, Any]],
    note: Callable[[str, BaseException | str | None], None],
    end: Callable[[str, str], None],
) -> None:
    """Run the examples in a program's text while the program itself is in another process.

    ``bring``: returns the namespace for the examples of a docstring, given its owner's name and the text of
    the examples. ``note`` gets the outcome of each test. ``end`` is called if no example tests anything.
    """
    runner = _Runner(note)
    for name, line, text in docstrings(program):
        found = doctest.DocTestParser().get_doctest(
            text, {}, f"program.{name}" if name else "program", "<program>", line
        )
        if found.examples:
            source = "".join(example.source for example in found.examples)
            found.globs = bring(name, source)
            runner.examine(found, [each for each, value in found.globs.items() if programs(each, value)])
    runner.finish(end)


def docstrings(program: str) -> list[tuple[str, int, str]]:
    """(qualified name, line, text) of each docstring of the module, its functions, classes and methods.

    As in ``doctest``, they are sorted by name, and only the last definition of a name counts. Raises what
    ``ast.parse`` raises.
    """
    found: dict[str, tuple[str, int, str]] = {}
    _find(ast.parse(program), "", found)
    return [found[name] for name in sorted(found)]


def _find(node: Any, prefix: str, found: dict[str, tuple[str, int, str]]) -> None:
    text = ast.get_docstring(node, clean=False)
    if text is not None:
        found[prefix] = (prefix, node.body[0].lineno - 1, text)
    else:
        found.pop(prefix, None)
    for child in _definitions(node.body):
        name = f"{prefix}.{child.name}" if prefix else child.name
        for old in [other for other in found if other == name or other.startswith(f"{name}.")]:
            del found[old]
        if isinstance(child, ast.ClassDef):
            _find(child, name, found)
        elif (text := ast.get_docstring(child, clean=False)) is not None:
            found[name] = (name, child.body[0].lineno - 1, text)


def _definitions(body: list[ast.stmt]) -> Iterator[Any]:
    """The definitions in a module or class, including those under ``if``, ``try`` and ``with``."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            inner = [getattr(node, part, []) for part in ("body", "orelse", "finalbody")]
            yield from _definitions([child for part in inner for child in part])


def _silent(text: str) -> None:
    return None


def _name(test: doctest.DocTest, example: doctest.Example) -> str:
    return f"{test.name.partition('.')[2] or test.name} {example.lineno + 1}: {_line(example.source)}"


def _line(text: str) -> str:
    shown = " ".join(text.split())
    return shown if len(shown) <= 120 else shown[:119] + "…"
