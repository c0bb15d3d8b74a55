"""Type hints as values: taken apart here, and made anew by the other side's own ``typing``."""

from __future__ import annotations

import collections.abc
import functools
import operator
import types
import typing
from typing import Any

#: What it does not show to those who check types.
_typing: Any = typing
#: ``list[int]``, and what ``collections.abc.Callable[...]`` makes.
_BUILTIN_ALIASES = (types.GenericAlias, type(collections.abc.Callable[[int], int]))
_NAMED = {value: name for name, value in vars(typing).items() if type(value).__module__ == "typing"}
#: A type variable equals itself alone, so each side keeps one that stands for the other's.
VARIABLES = tuple(
    kind
    for kind in (getattr(typing, name, None) for name in ("TypeVar", "ParamSpec", "TypeVarTuple"))
    if isinstance(kind, type)
)
_TYPED = type(_typing.TypedDict("_Typed", {}))


def fields(value: Any) -> tuple[str, list[Any]] | None:
    """(name of its kind, fields) of an alias, a union, or a name of ``typing``; None for all else."""
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
    if origin is typing.Callable and type(arguments[0]) is list:  # a list is filled too late
        arguments = (tuple(arguments[0]), arguments[1])
    return "generic", [origin, arguments]


def made(name: str, parts: list[Any]) -> Any:
    """The hint. Raises KeyError, TypeError or ValueError where there can be none."""
    return _MADE[name](*parts)


def _alias(origin: Any, arguments: Any) -> Any:
    if not isinstance(origin, type):
        raise TypeError("an alias of what is no class")
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
        raise ValueError(f"typing.{name} is no type hint")
    return found


def _generic(origin: Any, arguments: Any) -> Any:
    if isinstance(origin, type):
        if "_peer_" in origin.__dict__:  # it stands for a class of the other side
            listed = arguments if type(arguments) is tuple else (arguments,)
            return _typing._GenericAlias(origin, listed)
        return origin.__class_getitem__(arguments)  # type: ignore[attr-defined]
    if type(origin).__module__ != "typing":
        raise TypeError("an alias of what is no type hint")
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
    """What makes a ``TypedDict`` of the same name and keys."""
    required: frozenset[str] = getattr(kind, "__required_keys__", frozenset())
    # In pairs: a dictionary is filled too late.
    return [kind.__name__, tuple(kind.__annotations__.items()), bool(kind.__total__), frozenset(required)]


def typed_dict(name: Any, annotations: Any, total: Any, required: Any) -> Any:
    """Raises TypeError where there can be none."""
    made = _typing.TypedDict(str(name), dict(annotations), total=bool(total))
    made.__required_keys__ = frozenset(required)
    made.__optional_keys__ = frozenset(made.__annotations__) - made.__required_keys__
    return made


def variable_fields(value: Any) -> list[Any]:
    """What makes a type variable of the same name and bounds."""
    more = {
        "bound": getattr(value, "__bound__", None),
        "covariant": bool(getattr(value, "__covariant__", False)),
        "contravariant": bool(getattr(value, "__contravariant__", False)),
    }
    named = () if type(value).__name__ == "TypeVarTuple" else tuple(more.items())
    return [type(value).__name__, value.__name__, tuple(getattr(value, "__constraints__", ())), named]


def variable(kind: Any, name: Any, constraints: Any, more: Any) -> Any:
    """Raises TypeError where there can be none."""
    found = next((each for each in VARIABLES if each.__name__ == kind), None)
    if found is None:
        raise TypeError(f"no type variable: {kind}")
    return found(str(name), *constraints, **dict(more))
