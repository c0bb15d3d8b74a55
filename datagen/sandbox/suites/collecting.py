"""Collects the tests that a suite defines: functions ``test*``, classes ``Test*``, unittest test cases.

It follows the conventions of pytest and unittest: marks, parameters, fixtures, ``setup_*`` and ``setUp*`` of
modules, classes, methods and functions; inherited, static and class methods; nested classes.
"""

from __future__ import annotations

import inspect
import itertools
import types
import unittest
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import unittest_cases
from .fixtures import Fixtures, UnknownFixture, awaited, parameters
from .marks import Fixture, Mark, ParameterSet, marks
from .pytest_stand_in import Skipped, XFailed


def _nothing() -> None:
    return None


class Test:
    """One test.

    ``call``: runs the test and raises what it raises. ``owner`` and ``name``: where it is defined. ``unrun``:
    the reason if it is certainly vacuous; otherwise None.
    """

    __test__ = False

    def __init__(
        self,
        label: str,
        call: Callable[[], Any],
        name: str,
        owner: type | None = None,
        unrun: str | None = None,
    ) -> None:
        self.label, self.call, self.name, self.owner, self.unrun = label, call, name, owner, unrun


class SuiteGroup:
    """Tests that share a setup (``begin``) and a teardown (``finish``): of a class, or of a function."""

    def __init__(
        self,
        name: str,
        tests: list[Test],
        begin: Callable[[], Any] = _nothing,
        finish: Callable[[], Any] = _nothing,
    ) -> None:
        self.name, self.tests, self.begin, self.finish = name, tests, begin, finish


class Collector:
    """Collects the tests of a suite.

    ``space``: the namespace of the tests. ``defined``: the part of it that the tests define. ``called``:
    whether the tests themselves call a function with that name.
    """

    def __init__(
        self, space: Mapping[str, Any], defined: Mapping[str, Any], called: Callable[[str], bool]
    ) -> None:
        self.space, self.defined, self.called = space, defined, called
        found = (each for each in defined.values() if isinstance(each, Fixture))
        self.fixtures = Fixtures({each.name: each for each in found})

    def groups(self) -> Iterator[SuiteGroup]:
        module_marks = marks(self.defined)
        for name, found in self.defined.items():
            if getattr(found, "__test__", True) is False:
                continue
            if inspect.isfunction(found) and name.startswith("test"):
                yield SuiteGroup(name, self._functions(name, found, module_marks))
            elif inspect.isclass(found) and issubclass(found, unittest.TestCase):
                yield self._case(name, found, module_marks)
            elif inspect.isclass(found) and name.startswith("Test"):
                yield from self._class(name, found, module_marks)

    def begin(self) -> None:
        for name in ("setUpModule", "setup_module"):
            self._hook(self.defined, name)

    def finish(self) -> None:
        self.fixtures.end("module")
        for name in ("tearDownModule", "teardown_module"):
            self._hook(self.defined, name)

    def _hook(self, space: Mapping[str, Any], name: str, *given: Any) -> None:
        """Call a hook of the tests, if there is one, with as many arguments as it accepts."""
        hook = space.get(name)
        if callable(hook):
            hook(*(given or (None,))[: len(parameters(hook))])

    def _functions(self, name: str, function: Callable[..., Any], outer: list[Mark]) -> list[Test]:
        def around(call: Callable[[], Any], instance: Any) -> Any:
            self._hook(self.defined, "setup_function", function)
            try:
                return call()
            finally:
                self._hook(self.defined, "teardown_function", function)

        return list(self._tests(_Written(name, name, function, None, around), [*outer, *marks(function)]))

    def _case(self, name: str, case: type[unittest.TestCase], outer: list[Mark]) -> SuiteGroup:
        shared = [*outer, *marks(case)]
        tests = []
        for method in unittest_cases.names(case):
            function = getattr(case, method)
            unrun = self._unrun(function, [*shared, *marks(function)])
            tests.append(Test(f"{name}.{method}", unittest_cases.method(case, method), method, case, unrun))
        return SuiteGroup(
            name, tests, lambda: unittest_cases.begin(case), lambda: unittest_cases.finish(case)
        )

    def _class(self, name: str, owner: type, outer: list[Mark]) -> Iterator[SuiteGroup]:
        shared = [*outer, *marks(owner)]
        tests: list[Test] = []
        for attribute in _in_order(owner):
            found = inspect.getattr_static(owner, attribute)
            if attribute.startswith("test") and isinstance(found, _METHODS):
                tests += self._methods(f"{name}.{attribute}", owner, attribute, shared)
            elif attribute.startswith("Test") and inspect.isclass(found):
                yield from self._class(f"{name}.{attribute}", found, shared)

        def begin() -> None:
            self._hook({"setup_class": getattr(owner, "setup_class", None)}, "setup_class", owner)

        def finish() -> None:
            self.fixtures.end("class")
            self._hook({"teardown_class": getattr(owner, "teardown_class", None)}, "teardown_class", owner)

        yield SuiteGroup(name, tests, begin, finish)

    def _methods(self, label: str, owner: type, name: str, outer: list[Mark]) -> list[Test]:
        function = getattr(owner, name)

        def around(call: Callable[[], Any], instance: Any) -> Any:
            hooks = {hook: getattr(instance, hook, None) for hook in _METHOD_HOOKS}
            for hook in ("setup", "setup_method"):
                self._hook(hooks, hook, getattr(instance, name))
            try:
                return call()
            finally:
                for hook in ("teardown_method", "teardown"):
                    self._hook(hooks, hook, getattr(instance, name))

        return list(self._tests(_Written(label, name, function, owner, around), [*outer, *marks(function)]))

    def _tests(self, written: _Written, found: list[Mark]) -> Iterator[Test]:
        """One test per combination of ``parametrize`` marks and parametrized fixtures."""
        label, name, owner = written.label, written.name, written.owner
        unrun = self._unrun(written.function, found)
        parametrized = [mark for mark in found if mark.name == "parametrize"]
        given = {each for mark in parametrized for each in _direct(mark)}
        asked = [*parameters(written.function), *_used(found)]
        try:
            wanted = self.fixtures.wanted([each for each in asked if each not in given], owner)
        except UnknownFixture as error:
            if not self.called(name):  # otherwise it is a helper of other tests
                yield Test(label, _raising(error), name, owner, unrun)
            return
        number = 0
        for rows in itertools.product(*(list(_rows(mark)) for mark in reversed(parametrized))):
            direct = {key: value for row in rows for key, value in row.given.items()}
            for chosen in self.fixtures.variants(wanted, direct):
                named = any(row.id for row in rows)
                told = "-".join(row.id or str(row.place) for row in rows) if named else str(number)
                yield Test(
                    f"{label}[{told}]" if rows or chosen else label,
                    self._call(written, asked, wanted, {**direct, **chosen}),
                    name,
                    owner,
                    unrun or self._unrun(written.function, [mark for row in rows for mark in row.marks]),
                )
                number += 1
        if not number:
            yield Test(label, _nothing, name, owner, "it has no parameters to run with")

    def _call(
        self, written: _Written, asked: list[str], wanted: Mapping[str, Fixture], chosen: Mapping[str, Any]
    ) -> Callable[[], Any]:
        """A function that runs a test. ``chosen``: its parameters, and those of its fixtures."""
        name, owner = written.name, written.owner
        always = [each for each, fixture in wanted.items() if fixture.autouse]

        def call() -> Any:
            instance = None if owner is None else owner()
            bound = written.function if owner is None else getattr(instance, name)

            def tested() -> Any:
                values = {
                    each: self.fixtures.value(each, wanted, chosen, name, instance)
                    for each in [*always, *asked]
                    if each in wanted or each == "request"
                }
                values.update((each, value) for each, value in chosen.items() if each not in wanted)
                return awaited(bound(**{each: values[each] for each in parameters(bound) if each in values}))

            try:
                return written.around(tested, instance)
            finally:
                self.fixtures.end("function")

        return call

    def _unrun(self, function: Callable[..., Any], found: list[Mark]) -> str | None:
        """Why a test is vacuous whatever its outcome; None if it may not be."""
        plain = inspect.unwrap(function)
        if inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
            return "it is a generator, which nobody runs"
        for mark in found:
            if mark.name == "skip" or (mark.name == "skipif" and self._holds(mark)):
                return "it is skipped"
            if mark.name == "xfail" and (not mark.args or self._holds(mark)):
                return "it may fail"
        return None

    def _holds(self, mark: Mark) -> bool:
        conditions = mark.args or ((mark.kwargs["condition"],) if "condition" in mark.kwargs else ())
        return any(eval(each, dict(self.space)) if isinstance(each, str) else each for each in conditions)


class _Written:
    """A test function or method. ``around``: runs it between its setup and teardown."""

    def __init__(
        self,
        label: str,
        name: str,
        function: Callable[..., Any],
        owner: type | None,
        around: Callable[..., Any],
    ) -> None:
        self.label, self.name, self.function, self.owner, self.around = label, name, function, owner, around


_METHODS = (types.FunctionType, staticmethod, classmethod)
_METHOD_HOOKS = ("setup", "setup_method", "teardown_method", "teardown")
#: Exceptions that a test raises to skip itself or to mark an expected failure.
SAYS_NOTHING = (unittest.SkipTest, Skipped, XFailed)


@dataclass(frozen=True)
class _ParameterRow:
    given: dict[str, Any]
    marks: tuple[Mark, ...]
    id: str | None
    place: int


def _names(mark: Mark) -> list[str]:
    names = mark.args[0] if mark.args else mark.kwargs["argnames"]
    return (
        [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else list(names)
    )


def _used(found: list[Mark]) -> list[str]:
    return [str(each) for mark in found if mark.name == "usefixtures" for each in mark.args]


def _direct(mark: Mark) -> list[str]:
    """The parameters that are passed to the test itself, and not to a fixture of that name."""
    indirect = mark.kwargs.get("indirect", False)
    names = _names(mark)
    return [] if indirect is True else [name for name in names if name not in (indirect or ())]


def _rows(mark: Mark) -> Iterator[_ParameterRow]:
    names, ids = _names(mark), mark.kwargs.get("ids")
    values = mark.args[1] if len(mark.args) > 1 else mark.kwargs["argvalues"]
    for number, value in enumerate(values):
        told: Any = None
        own: tuple[Mark, ...] = ()
        if isinstance(value, ParameterSet):
            each, told, own = value.values, value.id, value.marks
        else:
            each = (value,) if len(names) == 1 else value
        if told is None and ids is not None:
            told = ids(value) if callable(ids) else list(ids)[number]
        yield _ParameterRow(
            dict(zip(names, each, strict=True)), own, None if told is None else str(told), number
        )


def _in_order(owner: type) -> list[str]:
    """Names in a class and its bases, those of the bases first, each once, as in pytest."""
    return list(dict.fromkeys(name for kind in reversed(owner.__mro__) for name in vars(kind)))


def _raising(error: BaseException) -> Callable[[], Any]:
    def call() -> Any:
        raise error

    return call
