"""Finds the tests that a suite defines: functions ``test*``, classes ``Test*``, cases of unittest.

The conventions are pytest's and unittest's: marks, parameters, fixtures, ``setup_*`` and ``setUp*`` of modules,
classes, methods and functions; inherited, static and class methods; classes in classes.
"""

from __future__ import annotations

import inspect
import itertools
import unittest
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import unittest_cases
from .fixtures import Fixtures, UnknownFixture, parameters
from .marks import Fixture, Mark, ParameterSet, marks
from .pytest_stand_in import Skipped, XFailed


def _nothing() -> None:
    return None


class Test:
    """``call`` runs it, and raises what it raises. ``owner`` and ``name``: where it is defined.
    ``unrun``: why it can only be vacuous, where it can."""

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


class Group:
    """Tests that share what ``begin`` makes and ``finish`` takes back: those of a class, or functions."""

    def __init__(
        self,
        name: str,
        tests: list[Test],
        begin: Callable[[], Any] = _nothing,
        finish: Callable[[], Any] = _nothing,
    ) -> None:
        self.name, self.tests, self.begin, self.finish = name, tests, begin, finish


class Collector:
    """``space``: the namespace in which the tests are defined; ``defined``: what of it they define;
    ``called``: whether they call a function of that name themselves."""

    def __init__(
        self, space: Mapping[str, Any], defined: Mapping[str, Any], called: Callable[[str], bool]
    ) -> None:
        self.space, self.defined, self.called = space, defined, called
        found = (each for each in defined.values() if isinstance(each, Fixture))
        self.fixtures = Fixtures({each.name: each for each in found})

    def groups(self) -> Iterator[Group]:
        module_marks = marks(self.defined)
        for name, found in self.defined.items():
            if getattr(found, "__test__", True) is False:
                continue
            if inspect.isfunction(found) and name.startswith("test"):
                yield Group(name, self._functions(name, found, module_marks))
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
        """Calls a function of the tests, where there is one, with as much as it takes."""
        hook = space.get(name)
        if callable(hook):
            hook(*(given or (None,))[: len(parameters(hook))])

    def _functions(self, name: str, function: Callable[..., Any], outer: list[Mark]) -> list[Test]:
        def around(call: Callable[[], Any]) -> Any:
            self._hook(self.defined, "setup_function", function)
            try:
                return call()
            finally:
                self._hook(self.defined, "teardown_function", function)

        return list(self._tests(name, function, None, [*outer, *marks(function)], around))

    def _case(self, name: str, case: type[unittest.TestCase], outer: list[Mark]) -> Group:
        shared = [*outer, *marks(case)]
        tests = []
        for method in unittest_cases.names(case):
            function = getattr(case, method)
            unrun = self._unrun(function, [*shared, *marks(function)])
            tests.append(Test(f"{name}.{method}", unittest_cases.method(case, method), method, case, unrun))
        return Group(name, tests, lambda: unittest_cases.begin(case), lambda: unittest_cases.finish(case))

    def _class(self, name: str, owner: type, outer: list[Mark]) -> Iterator[Group]:
        shared = [*outer, *marks(owner)]
        tests: list[Test] = []
        for attribute in _in_order(owner):
            found = inspect.getattr_static(owner, attribute)
            if (
                attribute.startswith("test") and isinstance(found, (staticmethod, classmethod))
            ) or inspect.isfunction(found):
                if attribute.startswith("test"):
                    tests += self._methods(f"{name}.{attribute}", owner, attribute, shared)
            elif inspect.isclass(found) and attribute.startswith("Test"):
                yield from self._class(f"{name}.{attribute}", found, shared)

        def begin() -> None:
            self._hook({"setup_class": getattr(owner, "setup_class", None)}, "setup_class", owner)

        def finish() -> None:
            self.fixtures.end("class")
            self._hook({"teardown_class": getattr(owner, "teardown_class", None)}, "teardown_class", owner)

        yield Group(name, tests, begin, finish)

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

        return list(self._tests(label, function, owner, [*outer, *marks(function)], around))

    def _tests(
        self,
        label: str,
        function: Callable[..., Any],
        owner: type | None,
        found: list[Mark],
        around: Callable[..., Any],
    ) -> Iterator[Test]:
        """One for each combination of ``parametrize`` marks and of parametrized fixtures."""
        name = function.__name__
        unrun = self._unrun(function, found)
        asked = parameters(function)
        asked += [str(each) for mark in found if mark.name == "usefixtures" for each in mark.args]
        given = {name for mark in found if mark.name == "parametrize" for name in _names(mark)}
        try:
            wanted = self.fixtures.wanted([each for each in asked if each not in given], owner)
        except UnknownFixture as error:
            if not self.called(name):  # else it is a helper of other tests
                yield Test(label, _raising(error), name, owner, unrun)
            return
        drawn = [list(_rows(mark)) for mark in reversed(found) if mark.name == "parametrize"]
        number = 0
        for rows in itertools.product(*drawn):
            direct = {key: value for row in rows for key, value in row.given.items()}
            for chosen in self.fixtures.variants(wanted, direct):
                told = "-".join(row.id for row in rows if row.id) or str(number)
                single = not drawn and not chosen
                yield Test(
                    label if single else f"{label}[{told}]",
                    self._call(function, owner, asked, wanted, direct, chosen, around),
                    name,
                    owner,
                    unrun or self._unrun(function, [mark for row in rows for mark in row.marks]),
                )
                number += 1
        if not number:
            yield Test(label, _nothing, name, owner, "it has no parameters to run with")

    def _call(
        self,
        function: Callable[..., Any],
        owner: type | None,
        asked: list[str],
        wanted: Mapping[str, Fixture],
        direct: Mapping[str, Any],
        chosen: Mapping[str, Any],
        around: Callable[..., Any],
    ) -> Callable[[], Any]:
        def call() -> Any:
            instance = None if owner is None else owner()
            bound = function if owner is None else getattr(instance, function.__name__)
            indirect = {**chosen, **{name: value for name, value in direct.items() if name in wanted}}

            def arguments() -> dict[str, Any]:
                values = {
                    name: self.fixtures.value(name, wanted, indirect, function.__name__, instance)
                    for name in [*(name for name, each in wanted.items() if each.autouse), *asked]
                    if name in wanted or name == "request"
                }
                values.update((name, value) for name, value in direct.items() if name not in wanted)
                takes = set(parameters(function))
                return {name: value for name, value in values.items() if name in takes}

            def tested() -> Any:
                return awaited(bound(**arguments()))

            try:
                return around(tested) if owner is None else around(tested, instance)
            finally:
                self.fixtures.end("function")

        return call

    def _unrun(self, function: Callable[..., Any], found: list[Mark]) -> str | None:
        """Why a test can say nothing, whatever comes of it."""
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


_METHOD_HOOKS = ("setup", "setup_method", "teardown_method", "teardown")
#: What a test raises to say that it says nothing.
SAYS_NOTHING = (unittest.SkipTest, Skipped, XFailed)


@dataclass(frozen=True)
class _Row:
    given: dict[str, Any]
    marks: tuple[Mark, ...]
    id: str | None


def _names(mark: Mark) -> list[str]:
    names = mark.args[0] if mark.args else mark.kwargs["argnames"]
    return (
        [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else list(names)
    )


def _rows(mark: Mark) -> Iterator[_Row]:
    names, ids = _names(mark), mark.kwargs.get("ids")
    values = mark.args[1] if len(mark.args) > 1 else mark.kwargs["argvalues"]
    for number, value in enumerate(values):
        told, own = None, ()
        if isinstance(value, ParameterSet):
            each, told, own = value.values, value.id, value.marks
        else:
            each = (value,) if len(names) == 1 else value
        if told is None and ids is not None:
            told = ids(value) if callable(ids) else list(ids)[number]
        yield _Row(dict(zip(names, each, strict=True)), own, None if told is None else str(told))


def _in_order(owner: type) -> list[str]:
    """Names of a class and its bases, the bases' first, each once, as pytest takes them."""
    return list(dict.fromkeys(name for kind in reversed(owner.__mro__) for name in vars(kind)))


def _raising(error: BaseException) -> Callable[[], Any]:
    def call() -> Any:
        raise error

    return call


def awaited(returned: Any) -> Any:
    """What a test returned, after a coroutine has run: not awaited, it would pass whatever it says."""
    if not inspect.iscoroutine(returned):
        return returned
    import asyncio  # a sixth of the memory that every run would be a copy of

    return asyncio.run(returned)
