"""Runs tests that are given as code: plain asserts, ``test_*`` functions, ``Test*`` classes, unittest cases."""

from __future__ import annotations
import __future__

import ast
import inspect
import itertools
import unittest
from collections.abc import Callable, Iterator
from typing import Any

TESTS = "<tests>"
Note = Callable[[str, "BaseException | str | None"], None]
End = Callable[[str, str], None]

#: Statements at the top level that count as a test where an assert is in them, beside calls.
STATEMENTS = (ast.Assert, ast.For, ast.While, ast.With, ast.If, ast.Try)


def run(source: str, space: dict[str, Any], note: Note, end: End) -> None:
    """Run every test of ``source`` in the program's namespace ``space``.

    ``note`` is told each test's end, ``end`` why there can be no verdict. Raises MemoryError as it comes.
    """
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError) as error:
        end("error", f"the tests do not parse: {type(error).__name__}: {error}")
        return
    before = dict(space)
    flags = 0
    for statement in statements:
        if _asks_for_main(statement):
            continue
        flags |= _future(statement)
        failure = _do(statement, space, flags)
        if _is_test(statement):
            note(f"line {statement.lineno}", _said(failure, statement))
        elif failure is not None:
            note(f"line {statement.lineno}", failure)
            end(
                "error",
                f"line {statement.lineno} of the tests raised {type(failure).__name__}: {_short(failure)}",
            )
            return
    for name, test in [item for item in space.items() if before.get(item[0]) is not item[1]]:
        for label, call in _callables(name, test):
            note(label, _attempt(call))


def _do(statement: ast.stmt, space: dict[str, Any], flags: int) -> BaseException | None:
    try:
        code = compile(ast.Module([statement], []), TESTS, "exec", flags=flags, dont_inherit=True)
        exec(code, space)
    except BaseException as error:
        return error
    return None


def _future(statement: ast.stmt) -> int:
    if not isinstance(statement, ast.ImportFrom) or statement.module != "__future__":
        return 0
    features = (getattr(__future__, alias.name, None) for alias in statement.names)
    return sum(feature.compiler_flag for feature in features if feature is not None)


def _asks_for_main(statement: ast.stmt) -> bool:
    """`if __name__ == "__main__":`, which runs the tests that are run here anyway."""
    return isinstance(statement, ast.If) and ast.unparse(statement.test).startswith("__name__ ==")


def _is_test(statement: ast.stmt) -> bool:
    if isinstance(statement, STATEMENTS):
        return any(isinstance(node, ast.Assert) for node in ast.walk(statement))
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)


def _said(failure: BaseException | None, statement: ast.stmt) -> BaseException | str | None:
    """A bare assert says nothing; its condition does."""
    if isinstance(failure, AssertionError) and not failure.args and isinstance(statement, ast.Assert):
        return f"AssertionError: {ast.unparse(statement.test)}"
    return failure


def _callables(name: str, test: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """(label, what to call) of each test that a name of the tests stands for."""
    if inspect.isfunction(test) and name.startswith("test"):
        yield from _cases(name, test)
    elif inspect.isclass(test) and issubclass(test, unittest.TestCase):
        for method in unittest.TestLoader().getTestCaseNames(test):
            yield f"{name}.{method}", _unittest(test, method)
    elif inspect.isclass(test) and name.startswith("Test"):
        for method, function in list(vars(test).items()):
            if method.startswith("test") and inspect.isfunction(function):
                yield from _cases(f"{name}.{method}", function, test)


def _cases(
    label: str, function: Callable[..., Any], owner: type | None = None
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """One for each combination of pytest's ``parametrize`` marks; one without any."""
    marks = [mark for mark in getattr(function, "pytestmark", ()) if mark.name == "parametrize"]
    drawn = [list(_values(mark)) for mark in reversed(marks)]
    for number, chosen in enumerate(itertools.product(*drawn)):
        arguments = {key: value for values in chosen for key, value in values.items()}

        def call(arguments: dict[str, Any] = arguments) -> Any:
            first = () if owner is None else (owner(),)
            return function(*first, **arguments)

        yield f"{label}[{number}]" if marks else label, call


def _values(mark: Any) -> Iterator[dict[str, Any]]:
    names = mark.args[0]
    names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    for value in mark.args[1]:
        if type(value).__name__ == "ParameterSet":
            values = value.values
        else:
            values = (value,) if len(names) == 1 else value
        yield dict(zip(names, values, strict=True))


def _unittest(case: type[unittest.TestCase], method: str) -> Callable[[], None]:
    def call() -> None:
        result = unittest.TestResult()
        unittest.TestSuite([case(method)]).run(result)
        for _, text in [*result.errors, *result.failures]:
            raise AssertionError(text.strip().splitlines()[-1])
        if result.unexpectedSuccesses:
            raise AssertionError("passed, and was expected to fail")

    return call


def _attempt(call: Callable[[], Any]) -> BaseException | None:
    try:
        returned = call()
        if inspect.iscoroutine(returned):  # not awaited, it would pass whatever it says
            import asyncio  # a sixth of the memory that every run would be a copy of

            asyncio.run(returned)
    except BaseException as error:
        return error
    return None


def _short(error: BaseException) -> str:
    try:
        return str(error)[:200]
    except BaseException:
        return "(no text)"
