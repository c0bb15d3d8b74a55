"""Marks, parameters and fixtures of pytest, as far as generated tests use them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Mark:
    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MarkDecorator:
    """``pytest.mark.NAME``: marks a function or class, or takes arguments first."""

    mark: Mark

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and callable(args[0]):
            marked = args[0]
            # A new list, since the inherited one would also mark the base class.
            marked.pytestmark = [*marks(marked), self.mark]
            return marked
        return MarkDecorator(Mark(self.mark.name, self.mark.args + args, {**self.mark.kwargs, **kwargs}))


class Marks:
    def __getattr__(self, name: str) -> MarkDecorator:
        if name.startswith("_"):
            raise AttributeError(name)
        return MarkDecorator(Mark(name))


@dataclass(frozen=True)
class ParameterSet:
    """``pytest.param(…)``."""

    values: tuple[Any, ...]
    marks: tuple[Mark, ...]
    id: str | None


def param(*values: Any, marks: Any = (), id: str | None = None) -> ParameterSet:
    return ParameterSet(values, tuple(_plain(marks)), id)


def marks(described: Any) -> list[Mark]:
    """The marks on a function, on a class and its bases, or in a module's namespace (``pytestmark``)."""
    found = (
        described.get("pytestmark", ())
        if isinstance(described, dict)
        else getattr(described, "pytestmark", ())
    )
    return list(_plain(found))


def _plain(found: Any) -> Iterable[Mark]:
    each = found if isinstance(found, (list, tuple)) else [found]
    return [
        one.mark if isinstance(one, MarkDecorator) else one
        for one in each
        if isinstance(one, (Mark, MarkDecorator))
    ]


@dataclass(frozen=True)
class Fixture:
    """``@pytest.fixture``.

    ``scope``: lifetime of the value (function, class, module or session). ``params``: parameters, one test
    for each.
    """

    function: Callable[..., Any]
    name: str
    scope: str
    params: tuple[Any, ...] | None
    autouse: bool

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"the fixture {self.name!r} is called directly; add a parameter with that name to the test"
        )

    def __get__(self, owner: Any, kind: type | None = None) -> Fixture:
        return self


def fixture(
    function: Callable[..., Any] | None = None,
    *,
    scope: Any = "function",
    params: Iterable[Any] | None = None,
    autouse: bool = False,
    ids: Any = None,
    name: str | None = None,
) -> Any:
    def made(function: Callable[..., Any]) -> Fixture:
        given = None if params is None else tuple(params)
        return Fixture(function, name or function.__name__, str(scope), given, autouse)

    return made if function is None else made(function)
