"""Runs tests that are given as code: plain asserts, ``test*`` functions, ``Test*`` classes, unittest cases.

A test passes if no assertion failed and at least one assertion ran whose outcome can depend on the program. A
test without such an assertion is vacuous. It counts neither as passed nor as failed. A suite whose tests are
all vacuous is vacuous too.
"""

from __future__ import annotations
import __future__

import ast
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .suites import pytest_stand_in
from .suites.assertions import Assertions
from .suites.certain import equals_itself
from .suites.collecting import SAYS_NOTHING, Collector, Test
from .suites.names import FAILURE, RAN, programs, walk
from .suites.reaching import Reach

TESTS = "<tests>"
Note = Callable[[str, "BaseException | str | None"], None]
End = Callable[[str, str], None]

#: Top-level statements that count as a test if they contain an assert. Calls count too.
STATEMENTS = (ast.Assert, ast.For, ast.While, ast.With, ast.If, ast.Try)
#: The marker in front of an assertion inside an expression, which records that it ran.
_MARK = re.compile(rf"{RAN}\(\d+\) or ")
#: Maximum number of vacuous tests that a message names.
NAMED = 5


def run(source: str, space: dict[str, Any], note: Note, end: End) -> None:
    """Run every test of ``source`` in the program's namespace ``space``.

    ``note`` gets the outcome of each test. ``end`` gets the reason if there is no verdict, or if tests were
    vacuous. Raises MemoryError if the code under test does.
    """
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError) as error:
        end("error", f"the tests do not parse: {type(error).__name__}: {error}")
        return
    sys.modules["pytest"] = pytest_stand_in
    suite = _Suite(source, body, space, note)
    wrong = suite.top_level()
    if wrong is not None:
        end(*wrong)
        return
    suite.defined()
    verdict = suite.verdict()
    if verdict is not None:
        end(*verdict)


class _Suite:
    """One run of a suite, with the outcomes of its tests so far."""

    def __init__(self, source: str, body: Sequence[ast.stmt], space: dict[str, Any], note: Note) -> None:
        self._body, self._space, self._note = body, space, note
        self._before = dict(space)
        program = [name for name, value in space.items() if programs(name, value)]
        self._assertions = Assertions(body, program)
        self._reach = Reach(source, body, program)
        self._ran: set[int] = set()
        #: Assertions that ran and compared more than a value with itself.
        self._compared: set[int] = set()
        self._done: list[ast.stmt] = []
        self._passed = self._failed = 0
        self._vacuous: list[tuple[str, str]] = []
        self._idle: list[tuple[str, str]] = []
        self._swallowed = False
        space[RAN], space[FAILURE] = self._ran_or_failed, AssertionError

    def _ran_or_failed(self, number: int, failed: bool = False, *itself: Any) -> None:
        self._ran.add(number)
        if not (itself and equals_itself(itself[0])):
            self._compared.add(number)
        self._swallowed |= failed

    def _start(self) -> None:
        self._ran.clear()
        self._compared.clear()
        self._swallowed = False

    def top_level(self) -> tuple[str, str] | None:
        """Run the suite's statements one by one. Returns the reason if there can be no verdict."""
        flags = 0
        # Mark all statements before running any: a later statement may redefine a function of an earlier one.
        marked = [
            (statement, _is_test(statement), self._assertions.marked(statement)) for statement in self._body
        ]
        for statement, is_test, block in marked:
            if _runs_all(statement):
                continue
            flags |= _future(statement)
            self._start()
            failure = _do(block, self._space, flags)
            name = f"line {statement.lineno}"
            if isinstance(failure, SAYS_NOTHING):
                return "vacuous", f"{name} of the tests ends them: {_unsaid(failure)}"
            if is_test and failure is None and not self._ran and isinstance(statement, ast.Expr):
                self._idle.append((name, "no assertion ran"))  # a setup call is not a test
            elif is_test or self._ran:
                self._tell(name, _explained(failure, statement), [statement])
            elif failure is not None:
                self._note(name, failure)
                return "error", f"{name} of the tests raised {_said(failure)}"
            if not isinstance(statement, _DEFINITIONS):
                self._done.append(statement)
        return None

    def defined(self) -> None:
        """Run the tests that the statements have defined."""
        mine = {name: value for name, value in self._space.items() if self._before.get(name) is not value}
        collector = Collector(self._space, mine, self._calls)
        groups = list(collector.groups())
        begun = _attempt(collector.begin) if groups else None
        for group in groups:
            problem = begun or _attempt(group.begin)
            for test in group.tests:
                self._run(test, problem)
            if problem is None and (error := _attempt(group.finish)) is not None:
                self._tell(f"{group.name}, afterwards", error, [])
        if groups and begun is None and (error := _attempt(collector.finish)) is not None:
            self._tell("afterwards", error, [])

    def verdict(self) -> tuple[str, str] | None:
        """A verdict with a message if some or all tests were vacuous; None otherwise."""
        vacuous = self._vacuous if self._passed else [*self._idle, *self._vacuous]
        if self._failed or not vacuous:
            return None
        named = "; ".join(f"{name}: {reason}" for name, reason in vacuous[:NAMED])
        more = f"; and {len(vacuous) - NAMED} more" if len(vacuous) > NAMED else ""
        if self._passed:
            return "passed", f"{len(vacuous)} vacuous, which do not count ({named}{more})"
        return "vacuous", f"the tests test nothing ({named}{more})"

    def _run(self, test: Test, problem: BaseException | None) -> None:
        if test.unrun is not None:
            self._vacuous.append((test.label, test.unrun))
            return
        self._start()
        returned: list[Any] = []
        error = problem or _attempt(lambda: returned.append(test.call()))
        if error is None and returned[0] is False and self._ran:
            error = AssertionError("it returned False")
        self._tell(test.label, error, self._nodes(test), returned[0] if returned else None)

    def _tell(
        self, name: str, error: BaseException | str | None, nodes: Sequence[ast.AST], returned: Any = None
    ) -> None:
        if isinstance(error, SAYS_NOTHING):
            self._vacuous.append((name, _unsaid(error)))
        elif error is not None:
            self._failed += 1
            self._note(name, error)
        elif (reason := self._tells_nothing(nodes)) is not None:
            self._vacuous.append(
                (name, reason if returned is None else "it returns a value, and asserts nothing")
            )
        else:
            self._passed += 1
            self._note(name, None)

    def _tells_nothing(self, nodes: Sequence[ast.AST]) -> str | None:
        """Why a test that finished does not depend on the program; None if it does."""
        if not self._ran:
            return "no assertion ran"
        if self._swallowed:
            return "an assertion failed, and the test hid it"
        ran = (self._assertions.found[number] for number in self._compared)
        if not any(self._reach.tells(each.asked, each.truth) for each in ran):
            return "what it asserts is true of any program"
        if self._reach.reaches(nodes) or any(self._reach.reaches([each]) for each in self._for_all()):
            return None
        return "it has nothing to do with the program"

    def _for_all(self) -> Iterable[ast.AST]:
        """The code that runs for every test: top-level statements so far, autouse fixtures,
        setup functions.
        """
        yield from self._done
        for statement in self._body:
            if isinstance(statement, ast.FunctionDef) and (
                statement.name.lower().startswith("setup")
                or any("autouse" in ast.unparse(each) for each in statement.decorator_list)
            ):
                yield statement

    def _nodes(self, test: Test) -> list[ast.AST]:
        """The syntax nodes of a test: its function, and for a method the rest of its class."""
        if test.owner is None:
            return [each for each in self._body if getattr(each, "name", None) == test.name]
        classes = {
            each.name: each for top in self._body for each in walk(top) if isinstance(each, ast.ClassDef)
        }
        found: list[ast.AST] = []
        for kind in test.owner.__mro__:
            node = classes.get(kind.__name__)
            if node is not None:
                others = [each for each in node.body if not getattr(each, "name", "").startswith("test")]
                own = [each for each in node.body if getattr(each, "name", "") == test.name]
                found += [*own, *others, *node.bases]
        return found

    def _calls(self, name: str) -> bool:
        """Whether the tests themselves call a function."""
        nodes = (node for statement in self._body for node in walk(statement))
        return any(
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
            for node in nodes
        )


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


def _do(block: Sequence[ast.stmt], space: dict[str, Any], flags: int) -> BaseException | None:
    try:
        code = compile(ast.Module(list(block), []), TESTS, "exec", flags=flags, dont_inherit=True)
        exec(code, space)
    except BaseException as error:
        return error
    return None


def _attempt(call: Callable[[], Any]) -> BaseException | None:
    try:
        call()
    except BaseException as error:
        return error
    return None


def _future(statement: ast.stmt) -> int:
    if not isinstance(statement, ast.ImportFrom) or statement.module != "__future__":
        return 0
    features = (getattr(__future__, alias.name, None) for alias in statement.names)
    return sum(feature.compiler_flag for feature in features if feature is not None)


def _runs_all(statement: ast.stmt) -> bool:
    """Whether a statement only runs the tests: ``if __name__ == "__main__":`` or ``unittest.main()``."""
    if isinstance(statement, ast.If):
        return ast.unparse(statement.test).startswith("__name__ ==")
    text = ast.unparse(statement) if isinstance(statement, ast.Expr) else ""
    return "unittest.main(" in text or "pytest.main(" in text


def _is_test(statement: ast.stmt) -> bool:
    if isinstance(statement, STATEMENTS):
        return any(isinstance(node, ast.Assert) for node in walk(statement))
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)


def _explained(failure: BaseException | None, statement: ast.stmt) -> BaseException | str | None:
    """The failure, with the condition as the message of a bare assert."""
    if isinstance(failure, AssertionError) and not failure.args and isinstance(statement, ast.Assert):
        return f"AssertionError: {_MARK.sub('', ast.unparse(statement.test))}"
    return failure


def _unsaid(error: BaseException) -> str:
    """The reason why a skipped or expected failure does not count."""
    what = "it may fail" if isinstance(error, pytest_stand_in.XFailed) else "it skips itself"
    return f"{what}: {error}" if str(error) else what


def _said(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:200]
    except BaseException:
        return type(error).__name__
