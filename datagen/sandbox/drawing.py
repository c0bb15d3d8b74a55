"""Draws arguments for a function from its annotations, a mix of edge cases and ordinary values."""

from __future__ import annotations

import inspect
import random
import string
import types
import typing
from collections.abc import Callable
from typing import Any

Draw = Callable[[random.Random], Any]

INTEGERS = (0, 1, -1, 2, 3, 10, 100, 2**31)
FLOATS = (0.0, 1.0, -1.0, 0.5, 1e-9, 1e9)
TEXTS = ("", " ", "a", "aa", "Ab", "0", "a b", "é")
LETTERS = string.ascii_letters + string.digits + " .,-_"
LONGEST = 8
DEPTH = 4
#: Probability of an edge case.
EDGE = 0.3


class Undrawable(Exception):
    """No arguments can be drawn for a function. The text names the parameter and the fix."""


def drawer(function: Callable[..., Any]) -> Callable[[random.Random], tuple[Any, ...]]:
    """A function that draws the positional arguments of one call.

    Raises Undrawable if an annotation is missing or not supported.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
        hints = typing.get_type_hints(function)
    except Exception as error:
        raise Undrawable(f"the reference's annotations cannot be read ({error}); give 'inputs'") from None
    draws: list[Draw] = []
    for parameter in parameters:
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            continue
        if parameter.name not in hints:
            if parameter.default is not parameter.empty:
                break
            raise Undrawable(
                f"parameter {parameter.name!r} of the reference has no annotation; annotate it or "
                "give 'inputs'"
            )
        draws.append(of_type(hints[parameter.name], parameter.name))
    return lambda rng: tuple(draw(rng) for draw in draws)


def of_type(hint: Any, name: str, depth: int = 0) -> Draw:
    """A function that draws a value for an annotation.

    Supported: int, float, bool, str, bytes, complex, None, unions, literals, and collections of these.
    """
    simple: dict[Any, Draw] = {
        int: _integer,
        float: _float,
        bool: lambda rng: rng.random() < 0.5,
        str: _text,
        bytes: lambda rng: _text(rng).encode(),
        complex: lambda rng: complex(_float(rng), _float(rng)),
        type(None): lambda rng: None,
        None: lambda rng: None,
        Any: _integer,
    }
    try:
        if hint in simple:
            return simple[hint]
    except TypeError:
        pass
    origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if depth > DEPTH:
        raise Undrawable(f"parameter {name!r} is nested too deeply; give 'inputs'")
    if origin in (typing.Union, types.UnionType):
        options = [of_type(each, name, depth + 1) for each in inner]
        return lambda rng: rng.choice(options)(rng)
    if origin is typing.Literal:
        return lambda rng: rng.choice(inner)
    if origin is tuple and inner and inner[-1] is not Ellipsis:
        parts = [of_type(each, name, depth + 1) for each in inner]
        return lambda rng: tuple(part(rng) for part in parts)
    return _collection(origin, inner, hint, name, depth)


def _collection(origin: Any, inner: tuple[Any, ...], hint: Any, name: str, depth: int) -> Draw:
    base = getattr(origin, "__name__", "")
    item = of_type(inner[0] if inner else int, name, depth + 1)
    if base in ("dict", "Mapping", "MutableMapping", "defaultdict"):
        value = of_type(inner[1] if len(inner) > 1 else int, name, depth + 1)
        return lambda rng: {item(rng): value(rng) for _ in range(_size(rng))}
    makers: dict[str, Callable[[list[Any]], Any]] = {
        **dict.fromkeys(("list", "Sequence", "Iterable", "Collection", "MutableSequence"), list),
        "tuple": tuple,
        **dict.fromkeys(("set", "Set", "AbstractSet"), set),
        "frozenset": frozenset,
    }
    if base not in makers:
        raise Undrawable(f"parameter {name!r} of type {hint!r} cannot be drawn; give 'inputs'")
    make = makers[base]
    return lambda rng: make([item(rng) for _ in range(_size(rng))])


def _size(rng: random.Random) -> int:
    return rng.randint(0, LONGEST)


def _integer(rng: random.Random) -> int:
    return rng.choice(INTEGERS) if rng.random() < EDGE else rng.randint(-20, 50)


def _float(rng: random.Random) -> float:
    return rng.choice(FLOATS) if rng.random() < EDGE else round(rng.uniform(-50, 50), 3)


def _text(rng: random.Random) -> str:
    if rng.random() < EDGE:
        return rng.choice(TEXTS)
    return "".join(rng.choice(LETTERS) for _ in range(_size(rng)))
