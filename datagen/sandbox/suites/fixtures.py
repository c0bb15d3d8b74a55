"""Provides tests with fixtures by the names of their parameters, and finalizes them afterwards."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from .builtin_fixtures import BUILT_IN, NO_PARAM, FixtureRequest
from .marks import Fixture

SCOPES = ("function", "class", "module")


class UnknownFixture(Exception):
    """A test has a parameter that no fixture provides."""


class Fixtures:
    """The fixtures of a suite. ``module``: those at its top level. A class may define more."""

    def __init__(self, module: Mapping[str, Fixture]) -> None:
        self._module = {**_BUILT_IN, **module}
        self._values: dict[str, dict[Any, Any]] = {scope: {} for scope in SCOPES}
        self._endings: dict[str, list[Callable[[], Any]]] = {scope: [] for scope in SCOPES}

    def known(self, owner: type | None) -> dict[str, Fixture]:
        """Name -> fixture, for a test of ``owner``."""
        if owner is None:
            return self._module
        own = [getattr(owner, name, None) for name in dir(owner)]
        return {**self._module, **{each.name: each for each in own if isinstance(each, Fixture)}}

    def wanted(self, names: Iterable[str], owner: type | None) -> dict[str, Fixture]:
        """All fixtures that a test with the parameters ``names`` needs, including those of its fixtures.

        Raises UnknownFixture.
        """
        known, found = self.known(owner), {}
        ahead = [name for name, each in known.items() if each.autouse] + list(names)
        while ahead:
            name = ahead.pop(0)
            if name in found or name == "request":
                continue
            if name not in known:
                raise UnknownFixture(f"no fixture {name!r}; known fixtures: {', '.join(sorted(known))}")
            found[name] = known[name]
            ahead += parameters(known[name].function)
        return found

    def variants(self, wanted: Mapping[str, Fixture], given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Name -> parameter, for each combination of the parameters of the wanted fixtures."""
        names = [name for name, each in wanted.items() if each.params is not None and name not in given]
        for chosen in itertools.product(*(wanted[name].params or () for name in names)):
            yield dict(zip(names, chosen, strict=True))

    def value(
        self, name: str, wanted: Mapping[str, Fixture], chosen: Mapping[str, Any], test: str, instance: Any
    ) -> Any:
        """The value of a fixture in a test. Raises what the fixture raises."""

        def of(other: str) -> Any:
            return self.value(other, self.wanted([other], type(instance)), chosen, test, instance)

        if name == "request":
            return FixtureRequest(NO_PARAM, test, self._endings["function"].append, of)
        fixture = wanted[name]
        scope = fixture.scope if fixture.scope in SCOPES else "module"
        param = chosen.get(name, NO_PARAM)
        key = (name, id(fixture), id(param))
        if key not in self._values[scope]:
            arguments = {
                each: FixtureRequest(param, test, self._endings[scope].append, of)
                if each == "request"
                else self.value(each, wanted, chosen, test, instance)
                for each in parameters(fixture.function)
            }
            self._values[scope][key] = self._made(fixture, arguments, scope, instance)
        return self._values[scope][key]

    def _made(self, fixture: Fixture, arguments: Mapping[str, Any], scope: str, instance: Any) -> Any:
        function = fixture.function
        if _takes_self(function):
            function = function.__get__(instance)
        made = awaited(function(**arguments))
        if inspect.isasyncgen(made):
            raise TypeError(
                f"the fixture {fixture.name!r} is an asynchronous generator, which is not supported"
            )
        if not inspect.isgenerator(made):
            return made
        value = next(made)
        self._endings[scope].append(lambda: next(made, None))
        return value

    def end(self, scope: str) -> None:
        """Finalize the fixtures of one function, class or module. Raises their first error."""
        self._values[scope].clear()
        errors = []
        while self._endings[scope]:
            try:
                self._endings[scope].pop()()
            except BaseException as error:
                errors.append(error)
        if errors:
            raise errors[0]


def awaited(returned: Any) -> Any:
    """The result of a test or fixture. A coroutine is run, since it would pass unexecuted otherwise."""
    if not inspect.iscoroutine(returned):
        return returned
    import asyncio  # not at the top: it takes a sixth of the memory that each run copies

    return asyncio.run(returned)


def parameters(function: Callable[..., Any]) -> list[str]:
    """The fixtures that a function needs: its parameters without default, except those of ``mock.patch``."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    names = [each.name for each in found if each.default is each.empty and each.kind in _BY_NAME]
    if names and _takes_self(function):
        del names[0]
    return names[_patched(function) :]


_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _takes_self(function: Callable[..., Any]) -> bool:
    """Whether a function was defined in a class and is not bound."""
    if not inspect.isfunction(function):
        return False
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    return names[:1] == ("self",)


def _patched(function: Callable[..., Any]) -> int:
    """The number of parameters that ``@mock.patch`` provides."""
    patchings: Sequence[Any] = getattr(function, "patchings", ())
    if not patchings:
        return 0
    from unittest.mock import DEFAULT

    return sum(each.attribute_name is None and each.new is DEFAULT for each in patchings)


_LASTING = {"tmp_path_factory": "module"}
_BUILT_IN = {
    name: Fixture(function, name, _LASTING.get(name, "function"), None, False)
    for name, function in BUILT_IN.items()
}
