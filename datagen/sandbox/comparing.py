"""Calls a function and its reference with the same arguments, and compares the outcomes."""

from __future__ import annotations

import copy
import enum
import inspect
import itertools
import math
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from . import describing
from .drawing import Undrawable, drawer
from .proxies import RemoteMeta

#: Maximum number of items that are read from an iterator.
MOST_ITEMS = 1000
DEPTH = 50
RELATIVE = 1e-9
#: Types of dictionary keys for which equality means identity of value.
PLAIN_KEYS = (int, str, bytes, bool, type(None))
Note = Callable[[str, "BaseException | str | None"], None]


def run(
    reference: Callable[..., Any],
    program: Callable[..., Any],
    inputs: Callable[[random.Random], tuple[Any, ...]] | None,
    count: int,
    seed: int,
    note: Note,
    end: Callable[[str, str], None],
) -> None:
    """Compare on ``count`` draws. ``note`` gets each outcome, ``end`` the reason if there is no verdict."""
    rng = random.Random(seed)
    try:
        draw = inputs or drawer(reference)
        calls = [tuple(draw(rng)) for _ in range(count)]
    except Undrawable as reason:
        end("error", str(reason))
        return
    except MemoryError:
        raise
    except BaseException as error:
        end("error", f"inputs: {type(error).__name__}: {error}")
        return
    returned, equal = False, True
    for number, arguments in enumerate(calls):
        wanted, got = outcome(reference, arguments), outcome(program, arguments)
        label = f"call {number}"
        if isinstance(got[1], MemoryError):
            raise got[1]
        different = None if same(wanted, got) else _difference(arguments, wanted, got)
        returned, equal = returned or wanted[0] == "returned", equal and different is None
        note(label, different)
    if equal and not returned:
        end("vacuous", "the reference raised an exception for all arguments: give `inputs` that it accepts")


def outcome(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[str, Any, Any]:
    """("returned" or "raised", the value or exception, the arguments after the call)."""
    given = copy.deepcopy(arguments)
    try:
        value = function(*given)
        if inspect.isawaitable(value):
            value = _awaited(value)
        if isinstance(value, Iterator):
            value = list(itertools.islice(value, MOST_ITEMS + 1))
        return "returned", value, given
    except BaseException as error:
        return "raised", error, given


def _awaited(awaitable: Any) -> Any:
    import asyncio  # not at the top: it takes a sixth of the memory that each run copies

    async def run() -> Any:
        return await awaitable

    return asyncio.run(run())


def same(one: Any, other: Any, depth: int = 0) -> bool:
    """Equality that does not use a value's own ``__eq__``, except for types that both sides import.

    ``one``: the value of the reference.
    """
    if depth > DEPTH:
        return False
    if isinstance(one, BaseException) and isinstance(other, BaseException):
        alike = type(one).__name__ == type(other).__name__
        if isinstance(one, BaseExceptionGroup) and isinstance(other, BaseExceptionGroup):
            return alike and _same_items(one.exceptions, other.exceptions, depth)
        return alike
    if isinstance(one, enum.Enum) and isinstance(other, enum.Enum):
        alike = type(one).__name__ == type(other).__name__ and one._name_ == other._name_
        return alike and same(one._value_, other._value_, depth + 1)
    if isinstance(one, OrderedDict) and isinstance(other, OrderedDict):
        return _same_items(list(one.items()), list(other.items()), depth)
    base = _base(one)
    if base is not type(one) and _base(other) is base:
        # An instance of a subclass of a built-in type can arrive as a plain value, without its class.
        alike = type(other) is base or type(one).__name__ == type(other).__name__
        return alike and same(base(one), base(other), depth + 1)
    if type(one) is float and type(other) is float:
        return (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=RELATIVE)
    if type(one) is complex and type(other) is complex:
        return same(one.real, other.real) and same(one.imag, other.imag)
    if type(one) is not type(other):
        return _same_instances(one, other, depth)
    if isinstance(one, (list, tuple)):
        return _same_items(one, other, depth)
    if isinstance(one, Mapping):
        return _same_mappings(one, other, depth)
    if type(one).__module__ in ("program", "reference"):
        return _same_instances(one, other, depth)
    try:
        return bool(one == other)
    except Exception:  # the comparison of arrays returns an array
        return repr(one) == repr(other)


def _base(value: Any) -> type:
    """The built-in base of the value's class; otherwise its own type."""
    if hasattr(type(value), "_fields"):
        return type(value)
    bases = (*describing.STORED, *describing.CONTAINED)
    return next((kind for kind in type(value).__mro__ if kind in bases and kind is not bool), type(value))


def _same_items(one: Any, other: Any, depth: int) -> bool:
    return len(one) == len(other) and all(
        same(first, second, depth + 1) for first, second in zip(one, other, strict=True)
    )


def _same_mappings(one: Any, other: Any, depth: int) -> bool:
    """Whether two mappings have the same items, in any order."""
    if _same_items(list(one), list(other), depth):
        return _same_items(list(one.values()), list(other.values()), depth)
    if len(one) != len(other):
        return False
    plain = {(type(key), key): value for key, value in other.items() if type(key) in PLAIN_KEYS}
    rest = [item for item in other.items() if type(item[0]) not in PLAIN_KEYS]
    for key, value in one.items():
        if type(key) in PLAIN_KEYS:
            found = (type(key), key) in plain and same(value, plain.pop((type(key), key)), depth + 1)
        else:
            places = (place for place, item in enumerate(rest) if same((key, value), item, depth + 1))
            place = next(places, None)
            found = place is not None
            if place is not None:
                del rest[place]
        if not found:
            return False
    return True


def _same_instances(one: Any, other: Any, depth: int) -> bool:
    """Compare instances of a class that both programs define, by class name and state."""
    if type(one).__module__ not in ("program", "reference") or type(one).__name__ != type(other).__name__:
        return False
    if callable(one) or inspect.isclass(one):
        return False
    if isinstance(one, tuple):
        return isinstance(other, tuple) and _same_items(tuple(one), tuple(other), depth)
    return same(_state(one), _state(other), depth + 1)


def _state(value: Any) -> Any:
    kind = type(value)
    return kind._peer_.ask("state", None, value) if isinstance(kind, RemoteMeta) else describing.state(value)


def _difference(arguments: tuple[Any, ...], wanted: tuple[Any, ...], got: tuple[Any, ...]) -> str:
    if same(wanted[:2], got[:2]):
        return (
            f"({_shown(arguments)}) changes its arguments to {_shown(got[2])}, the reference to "
            f"{_shown(wanted[2])}"
        )
    told = [
        f"{how} {type(what).__name__ if how == 'raised' else _shown(what)}" for how, what, _ in (got, wanted)
    ]
    return f"({_shown(arguments)}) {told[0]}, the reference {told[1]}"


def _shown(value: Any) -> str:
    try:
        text = ", ".join(map(repr, value)) if type(value) is tuple else repr(value)
    except BaseException:
        return f"a {type(value).__name__}"
    return text if len(text) <= 100 else text[:99] + "…"
