"""Type hints as values: split into fields here, and rebuilt by the ``typing`` module of the other side."""

from __future__ import annotations

import collections.abc
import functools
import operator
import types
import typing
from typing import Any

#: Gives access to private names of ``typing`` that type checkers reject.
_typing: Any = typing
#: Types of ``list[int]`` and of ``collections.abc.Callable[...]``.
_BUILTIN_ALIASES = (types.GenericAlias, type(collections.abc.Callable[[int], int]))
_NAMED = {value: name for name, value in vars(typing).items() if type(value).__module__ == "typing"}
#: A type variable equals only itself, so each side keeps one counterpart per variable of the other side.
VARIABLES = tuple(
    kind
    for kind in (getattr(typing, name, None) for name in ("TypeVar", "ParamSpec", "TypeVarTuple"))
    if isinstance(kind, type)
)
_TYPED = type(_typing.TypedDict("_Typed", {}))


def fields(value: Any) -> tuple[str, list[Any]] | None:
    """(name of its kind, fields) of an alias, a union, or a name of ``typing``; None for anything else."""
    kind = type(value)
    if kind in _BUILTIN_ALIASES:
        return "alias", [value.__origin__, value.__args__]
    if kind is types.UnionType:
        return "union", [value.__args__]
    if kind.__module__ != "typing":
        return None
    if kind is typing.ForwardRef:
        return "forward reference", [value.__forward_arg__]
    if kind in (typing.ParamSpecArgs, typing.ParamSpecKwargs):
        return "parameters", [value.__origin__, "args" if kind is typing.ParamSpecArgs else "kwargs"]
    if isinstance(value, _typing._Final) and kind.__hash__ is not None:
        return _special(value)
    return None


def _special(value: Any) -> tuple[str, list[Any]] | None:
    try:
        name = _NAMED.get(value)
    except TypeError:  # Annotated[int, []]
        name = None
    if name is not None and vars(typing)[name] is value:
        return "typing", [name]
    if type(value) in VARIABLES or not hasattr(value, "__origin__"):
        return None
    _, (origin, arguments) = value.__reduce__()
    if origin is typing.Callable and type(arguments[0]) is list:  # the decoder fills lists too late
        arguments = (tuple(arguments[0]), arguments[1])
    return "generic", [origin, arguments]


def made(name: str, parts: list[Any]) -> Any:
    """Build the hint. Raises KeyError, TypeError or ValueError if the fields are invalid."""
    return _MADE[name](*parts)


def _alias(origin: Any, arguments: Any) -> Any:
    if not isinstance(origin, type):
        raise TypeError("the origin of an alias is not a class")
    if origin is collections.abc.Callable:
        return collections.abc.Callable[_parameters(arguments), arguments[-1]]
    return types.GenericAlias(origin, tuple(arguments))


def _parameters(arguments: Any) -> Any:
    first = arguments[:-1]
    alone = len(first) == 1 and (first[0] is Ellipsis or type(first[0]) in VARIABLES)
    return first[0] if alone else list(first)


def _union(arguments: Any) -> Any:
    return functools.reduce(operator.or_, arguments)


def _named(name: str) -> Any:
    found = vars(typing)[name]
    if type(found).__module__ != "typing":
        raise ValueError(f"typing.{name} is not a type hint")
    return found


def _generic(origin: Any, arguments: Any) -> Any:
    if isinstance(origin, type):
        if "_peer_" in origin.__dict__:  # it mirrors a class of the other side
            listed = arguments if type(arguments) is tuple else (arguments,)
            return _typing._GenericAlias(origin, listed)
        return origin.__class_getitem__(arguments)  # type: ignore[attr-defined]
    if type(origin).__module__ != "typing":
        raise TypeError("the origin of an alias is not a type hint")
    if origin is typing.Callable and type(arguments[0]) is tuple:
        arguments = (list(arguments[0]), arguments[1])
    return origin[arguments]


_MADE: dict[str, Any] = {
    "alias": _alias,
    "union": _union,
    "typing": _named,
    "generic": _generic,
    "forward reference": typing.ForwardRef,
    "parameters": lambda origin, which: getattr(origin, which) if type(origin) in VARIABLES else None,
}
NAMES = frozenset(_MADE)


def is_typed_dict(kind: Any) -> bool:
    return type(kind) is _TYPED


def typed_dict_fields(kind: Any) -> list[Any]:
    """The fields from which the other side builds an equal ``TypedDict``."""
    required: frozenset[str] = getattr(kind, "__required_keys__", frozenset())
    # As pairs, since the decoder fills dictionaries too late.
    return [kind.__name__, tuple(kind.__annotations__.items()), bool(kind.__total__), frozenset(required)]


def typed_dict(name: Any, annotations: Any, total: Any, required: Any) -> Any:
    """Build a ``TypedDict``. Raises TypeError if the fields are invalid."""
    made = _typing.TypedDict(str(name), dict(annotations), total=bool(total))
    made.__required_keys__ = frozenset(required)
    made.__optional_keys__ = frozenset(made.__annotations__) - made.__required_keys__
    return made


def variable_fields(value: Any) -> list[Any]:
    """The fields from which the other side builds an equal type variable."""
    more = {
        "bound": getattr(value, "__bound__", None),
        "covariant": bool(getattr(value, "__covariant__", False)),
        "contravariant": bool(getattr(value, "__contravariant__", False)),
    }
    named = () if type(value).__name__ == "TypeVarTuple" else tuple(more.items())
    return [type(value).__name__, value.__name__, tuple(getattr(value, "__constraints__", ())), named]


def variable(kind: Any, name: Any, constraints: Any, more: Any) -> Any:
    """Build a type variable. Raises TypeError if the fields are invalid."""
    found = next((each for each in VARIABLES if each.__name__ == kind), None)
    if found is None:
        raise TypeError(f"unknown kind of type variable: {kind}")
    return found(str(name), *constraints, **dict(more))
